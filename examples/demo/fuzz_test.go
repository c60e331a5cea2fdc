package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCreateUserBody sends bodies to /admin/create_user/. Whatever they hold, the answer
// is one of the documented ones; and a body that creates an account still creates the
// same one after another program has read and rewritten it.
func FuzzCreateUserBody(f *testing.F) {
	cfg := testConfig(f)
	server := func() (handler http.Handler, admin string) {
		service, err := newServer(f.Context(), cfg)
		require.NoError(f, err)
		handler = service.handler()
		rec := httptest.NewRecorder()
		c := loginCall("admin@example.com", adminPassword)
		req := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		req.Header.Set("Content-Type", c.contentType)
		handler.ServeHTTP(rec, req)
		return handler, answer{body: rec.Body.Bytes()}.object(f)["access_token"].(string)
	}
	first, firstToken := server()
	second, secondToken := server()
	create := func(handler http.Handler, token string, body []byte) answer {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("POST", "/admin/create_user/", bytes.NewReader(body))
		req.Header.Set("Content-Type", jsonType)
		req.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(rec, req)
		return answer{status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
	}

	for _, body := range malformed {
		f.Add([]byte(body))
	}
	for _, body := range []string{
		`{"email":"a@example.com","full_name":"A","password":"a-good-secret"}`,
		`{"email":"b@example.com","full_name":"\ud83d\ude00 \u00e9 \"\\\/","password":"\u0061-good-secret","roles":["user","admin"]}`,
		`{"email":"user@example.com","full_name":"U","password":"a-good-secret"}`,
		`{"email":1,"full_name":null,"password":[],"roles":{},"id":"x"}`,
		`[[[[]]]]`, `"\ud83d\ude00"`, `-0.1e+9`, `{"a":{"a":{"a":1}}}`, `{"":""}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := create(first, firstToken, body)
		if !slices.Contains([]int{201, 400, 409, 413, 422}, a.status) {
			t.Fatalf("%d for %q: %s", a.status, body, a.body)
		}
		if a.status != http.StatusCreated {
			return
		}
		var value any
		require.NoError(t, json.Unmarshal(body, &value))
		rewritten, err := json.Marshal(value)
		require.NoError(t, err)
		again := create(second, secondToken, rewritten)
		require.Equal(t, http.StatusCreated, again.status, "%q, %q: %s", body, rewritten, again.body)
		require.Equal(t, string(a.body), string(again.body))
	})
}

// TestJSONDepth asserts where nesting becomes too deep.
func TestJSONDepth(t *testing.T) {
	t.Parallel()
	for depth, ok := range map[int]bool{1: true, maxJSONDepth: true, maxJSONDepth + 1: false} {
		arrays := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		objects := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		require.Equal(t, ok, checkJSON([]byte(arrays)) == nil, depth)
		require.Equal(t, ok, checkJSON([]byte(objects)) == nil, depth)
	}
	// What only looks like nesting, a name given twice, or a surrogate.
	for _, text := range []string{
		`"` + strings.Repeat("[", 99) + `"`, `[{"a":1},{"a":2}]`, `{"a":"b","b":"a"}`, `["a","a"]`,
		`{"a":{"a":{}},"b":[{"a":1}]}`, `"\\ud800"`, `"\ud83d\ude00\u0041"`, `"\uD83D\uDE00"`, ` 1 `,
	} {
		require.NoError(t, checkJSON([]byte(text)), text)
	}
}
