package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const jsonType = "application/json"

func createCall(token, body string) call {
	return call{method: "POST", path: "/admin/create_user/", token: token, contentType: jsonType, body: body}
}

func (w *walk) createUser(t *testing.T) {
	admin := w.admin(t)
	create := func(t *testing.T, body string) answer {
		t.Helper()
		return w.do(t, createCall(admin, body))
	}
	bothSlashes(t, "/admin/create_user", func(t *testing.T, path string) {
		email := fmt.Sprintf("new%d@example.com", len(path))
		password := w.password("a-fresh-secret" + email)
		c := createCall(admin, `{"email":"`+strings.ToUpper(email[:3])+email[3:]+`","full_name":"New User","password":"`+password+`","roles":["viewer","editor"]}`)
		c.path = path
		a := w.do(t, c)
		require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
		require.JSONEq(t, `{"message":"User created successfully","user":{"email":"`+email+`","full_name":"New User","roles":["viewer","editor"],"disabled":false}}`, string(a.body))

		list := w.do(t, call{method: "GET", path: a.header.Get("Location"), token: admin})
		require.Equal(t, http.StatusOK, list.status)
		require.Contains(t, string(list.body), email)

		me := w.do(t, call{method: "GET", path: "/users/me/", token: w.login(t, email, password)})
		require.Equal(t, email, me.object(t)["email"])
	})
	t.Run("roles default to user", func(t *testing.T) {
		a := create(t, `{"email":"plain@example.com","full_name":"Plain","password":"`+w.password("plain-secret-1")+`"}`)
		require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
		require.Equal(t, []any{"user"}, a.object(t)["user"].(map[string]any)["roles"])
	})
	t.Run("every role of the table", func(t *testing.T) {
		for role := range roleTable() {
			a := create(t, `{"email":"`+role+`s@example.com","full_name":"X","password":"`+w.password("role-secret-"+role)+`","roles":["`+role+`"]}`)
			require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
		}
	})
	t.Run("address already taken", func(t *testing.T) {
		for _, email := range []string{"user@example.com", "USER@Example.com"} {
			a := create(t, `{"email":"`+email+`","full_name":"Impostor","password":"`+w.password("impostor-secret")+`","roles":["admin"]}`)
			a.isProblem(t, http.StatusConflict, "")
		}
		me := w.do(t, call{method: "GET", path: "/users/me/", token: w.user(t)})
		require.JSONEq(t, `{"email":"user@example.com","full_name":"Regular User","roles":["user"],"disabled":false}`, string(me.body))
		w.badLogin(t, w.do(t, loginCall("user@example.com", "impostor-secret")))
	})
	t.Run("of many creations at once exactly one wins", func(t *testing.T) { w.race(t, admin) })
	t.Run("fields at fault", func(t *testing.T) { w.faultyFields(t, create) })
	t.Run("not one JSON text", func(t *testing.T) {
		for name, body := range malformed {
			t.Run(name, func(t *testing.T) { create(t, body).isProblem(t, http.StatusBadRequest, "") })
		}
	})
	t.Run("content type other than JSON", func(t *testing.T) {
		body := `{"email":"typed@example.com","full_name":"Typed","password":"` + w.password("typed-secret-1") + `"}`
		for _, contentType := range []string{
			"", "text/plain", formType, "multipart/form-data", "application/jsonp", "text/json", "application/problem+json",
			"application/json; charset=utf-16", "application/json; charset", "application/json, text/plain",
		} {
			c := createCall(admin, body)
			c.contentType = contentType
			w.do(t, c).isProblem(t, http.StatusUnsupportedMediaType, "")
		}
		c := createCall(admin, body)
		c.contentType = "Application/JSON; Charset=UTF-8"
		require.Equal(t, http.StatusCreated, w.do(t, c).status)
	})
	t.Run("a body over 64 KiB", func(t *testing.T) {
		create(t, `{"email":"`+strings.Repeat("x", 64<<10)+`"}`).isProblem(t, http.StatusRequestEntityTooLarge, "")
		a := create(t, `{"email":"full@example.com","full_name":"Full","password":"`+w.password("full-secret-12")+`"}`+strings.Repeat(" ", 65_000))
		require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	})
	t.Run("authentication and role before the body", func(t *testing.T) {
		for _, body := range []string{`{`, strings.Repeat("x", 65<<10)} {
			c := createCall("", body)
			w.do(t, c).isProblem(t, http.StatusUnauthorized, "Not authenticated")
			w.do(t, createCall("garbage", body)).isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
			w.do(t, createCall(w.user(t), body)).isProblem(t, http.StatusForbidden, "Not enough permissions")
		}
	})
	w.notAllowed(t, "/admin/create_user/", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD")
}

// malformed are bodies that are not one well-formed JSON text, or one that two readers
// could understand in two ways.
var malformed = map[string]string{
	"empty":                    ``,
	"cut":                      `{"email":"a@example.com"`,
	"single quotes":            `{'email':'a@example.com'}`,
	"trailing comma":           `{"email":"a@example.com",}`,
	"trailing text":            `{"email":"a@example.com"} x`,
	"a second value":           `{"email":"a@example.com"}{}`,
	"comment":                  `{"email":"a@example.com"}//`,
	"duplicate keys":           `{"email":"a@example.com","email":"b@example.com"}`,
	"duplicate keys, escaped":  `{"email":"a@example.com","em\u0061il":"b@example.com"}`,
	"duplicate keys, deeper":   `{"roles":[{"a":1,"a":2}]}`,
	"NaN":                      `{"email":NaN}`,
	"Infinity":                 `{"email":-Infinity}`,
	"deep nesting":             `{"roles":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
	"very deep nesting":        strings.Repeat("[", 30_000),
	"not UTF-8":                "{\"email\":\"\xff@example.com\"}",
	"UTF-16":                   "\xff\xfe{\x00}\x00",
	"byte order mark":          "\xef\xbb\xbf{}",
	"lone high surrogate":      `{"full_name":"\ud800"}`,
	"lone low surrogate":       `{"full_name":"\udc00"}`,
	"surrogates the wrong way": `{"full_name":"\udc00\ud800"}`,
	"high surrogate, then not": `{"full_name":"\ud83dx"}`,
	"high, high":               `{"full_name":"\ud83d\ud83d"}`,
	"surrogate in a name":      `{"\ud800":1}`,
	"bad escape":               `{"full_name":"\x"}`,
	"control character":        "{\"full_name\":\"a\nb\"}",
}

// race creates one address many times at once.
func (w *walk) race(t *testing.T, admin string) {
	const clients = 8 // as many as may wait for a hash on the smallest machine
	var created, taken atomic.Int32
	var winner atomic.Value
	var all sync.WaitGroup
	for i := range clients {
		password := w.password(fmt.Sprintf("racing-secret-%02d", i))
		all.Go(func() {
			a, err := send(w.url, createCall(admin, `{"email":"racer@example.com","full_name":"Racer","password":"`+password+`"}`))
			switch {
			case err == nil && a.status == http.StatusCreated:
				created.Add(1)
				winner.Store(password)
			case err == nil && a.status == http.StatusConflict:
				taken.Add(1)
			default:
				t.Error(err, a.status, string(a.body))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, created.Load())
	require.EqualValues(t, clients-1, taken.Load())
	w.login(t, "racer@example.com", winner.Load().(string))
}

// faultyFields asserts that each field at fault is named, once, and nothing is created.
func (w *walk) faultyFields(t *testing.T, create func(*testing.T, string) answer) {
	w.password("a-good-secret-123")
	const rest = `"email":"faulty@example.com","full_name":"Faulty","password":"a-good-secret-123"`
	long := w.password(strings.Repeat("l", 73))
	for body, want := range map[string][]string{
		`{}`:       {"email", "full_name", "password"},
		`[]`:       {"body"},
		`null`:     {"body"},
		`"text"`:   {"body"},
		`12`:       {"body"},
		`[{}, {}]`: {"body"},
		`{"email":"","full_name":"","password":""}`:                                                       {"email", "full_name", "password"},
		`{"email":null,"full_name":null,"password":null,"roles":null}`:                                    {"email", "full_name", "password", "roles"},
		`{"email":1,"full_name":["x"],"password":{"a":1},"roles":"admin"}`:                                {"email", "full_name", "password", "roles"},
		`{"email":"nowhere","full_name":"F","password":"short","roles":["king"]}`:                         {"email", "roles", "password"},
		`{"email":"nowhere","password":"short","roles":["king"],"id":1}`:                                  {"full_name", "id", "email", "roles", "password"},
		`{"email":"faulty@example.com","password":"short"}`:                                               {"full_name", "password"},
		`{"EMAIL":"faulty@example.com","full_name":"F","password":"a-good-secret-123"}`:                   {"email", "EMAIL"},
		`{"email":" faulty@example.com","full_name":"F","password":"a-good-secret-123"}`:                  {"email"},
		`{"email":"f\u0430ulty@example.com","full_name":"F","password":"a-good-secret-123"}`:              {"email"},
		`{"email":"F <faulty@example.com>","full_name":"F","password":"a-good-secret-123"}`:               {"email"},
		`{"email":"` + strings.Repeat("x", 300) + `@a.b","full_name":"F","password":"a-good-secret-123"}`: {"email"},
		`{"email":"faulty@example.com","full_name":"F\u0000","password":"a-good-secret-123"}`:             {"full_name"},
		`{"email":"faulty@example.com","full_name":"F","password":"seven-7"}`:                             {"password"},
		`{"email":"faulty@example.com","full_name":"F","password":"` + long + `"}`:                        {"password"},
		`{"email":"faulty@example.com","full_name":"F","password":"` + strings.Repeat("é", 37) + `"}`:     {"password"},
		`{"email":"faulty@example.com","full_name":"F","password":"null\u0000byte"}`:                      {"password"},
		`{` + rest + `,"roles":{}}`:                {"roles"},
		`{` + rest + `,"roles":[1]}`:               {"roles"},
		`{` + rest + `,"roles":["user",null]}`:     {"roles"},
		`{` + rest + `,"roles":["root"]}`:          {"roles"},
		`{` + rest + `,"roles":["Admin"]}`:         {"roles"},
		`{` + rest + `,"roles":["admin "]}`:        {"roles"},
		`{` + rest + `,"roles":["user","user"]}`:   {"roles"},
		`{` + rest + `,"disabled":false}`:          {"disabled"},
		`{` + rest + `,"hashed_password":"x"}`:     {"hashed_password"},
		`{` + rest + `,"id":"x","created_at":"x"}`: {"created_at", "id"},
		`{` + rest + `,"number":1e999,"Roles":[]}`: {"Roles", "number"},
		`{` + rest + `,"":1}`:                      {""},
	} {
		a := create(t, body)
		a.isProblem(t, http.StatusUnprocessableEntity, "")
		require.Equal(t, want, a.faults(t), body)
	}
	a := create(t, `{"email":"faulty@example.com","full_name":"F","password":"`+long+`"}`)
	require.Contains(t, string(a.body), "72 bytes")
	a = create(t, `{"email":"faulty@example.com","full_name":"F","password":"seven-7"}`)
	require.Contains(t, string(a.body), "8 characters")
	w.badLogin(t, w.do(t, loginCall("faulty@example.com", "a-good-secret-123")))
}
