package authkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// A whole service: login, a route for every user, a route for administrators.
func Example() {
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), // from the environment, in real life
		Roles:  map[string][]string{"admin": nil, "user": nil},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = kit.CreateUser(context.Background(), authkit.User{Email: "ann@example.com", FullName: "Ann", Roles: []string{"user"}}, "correct horse battery")
	if err != nil {
		log.Fatal(err)
	}

	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		_, _ = fmt.Fprintf(w, "hello, %s", user.FullName)
	})
	mux.HandleFunc("DELETE /everything", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(mux)
	defer server.Close()

	response, err := http.PostForm(server.URL+"/token", url.Values{"username": {"ann@example.com"}, "password": {"correct horse battery"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil {
		log.Fatal(err)
	}
	ask := func(method, path, authorization string) {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(method, path, w.Code)
	}
	ask("GET", "/hello", "Bearer "+token.AccessToken)
	ask("GET", "/hello", "Bearer forged")
	ask("DELETE", "/everything", "Bearer "+token.AccessToken)
	for _, route := range mux.AccessMatrix() {
		fmt.Printf("%-6s %-12s %s\n", route.Method, route.Pattern, route.Policy)
	}
	// Output:
	// GET /hello 200
	// GET /hello 401
	// DELETE /everything 403
	// DELETE /everything  roles: admin
	// GET    /hello       authenticated
	// POST   /token       public
}

// On any other router, a guard is middleware. RequireRoles also authenticates
// the request, so it needs no other middleware before it.
func ExampleKit_RequireRoles() {
	kit := authkittest.NewKit(authkittest.Example{})
	router := http.NewServeMux()
	deleteEverything := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	router.Handle("DELETE /everything", kit.RequireRoles("admin")(deleteEverything))

	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest("DELETE", "/everything", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))

	t := authkittest.Example{}
	for _, role := range []string{"user", "admin"} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, authkittest.Request(t, kit, authkittest.User(t, kit, role), "DELETE", "/everything", nil))
		fmt.Println(role, w.Code)
	}
	// Output:
	// 401 Bearer
	// user 403
	// admin 200
}

// A public page that greets users who are logged in.
func ExampleKit_Identify() {
	kit := authkittest.NewKit(authkittest.Example{})
	front := func(w http.ResponseWriter, r *http.Request) {
		switch _, who, err := kit.Identify(r); {
		case err == nil:
			_, _ = fmt.Fprintln(w, "hello,", who.Email)
		default:
			_, _ = fmt.Fprintln(w, "hello, stranger")
		}
	}
	w := httptest.NewRecorder()
	front(w, httptest.NewRequest("GET", "/", nil))
	t := authkittest.Example{}
	front(w, authkittest.Request(t, kit, authkittest.User(t, kit), "GET", "/", nil))
	fmt.Print(w.Body)
	// Output:
	// hello, stranger
	// hello, user1@example.com
}

// Accounts of a system that used passlib keep their passwords. Each hash is
// replaced by one of the primary scheme at the next login of its user.
func ExampleKit_ImportUsers() {
	ctx := context.Background()
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	err = kit.ImportUsers(ctx, []authkit.StoredUser{{
		User:         authkit.User{Email: "ann@example.com"},
		PasswordHash: "$pbkdf2-sha256$100000$AAECAwQFBgcICQoLDA0ODw$8Rz.upiGaWHKSQOyVpb7eoXv6kfAt7NVJaqgaCrHCX8",
	}})
	if err != nil {
		log.Fatal(err)
	}
	scheme := func() string {
		u, err := store.UserByEmail(ctx, "ann@example.com")
		if err != nil {
			log.Fatal(err)
		}
		return string(u.PasswordHash[:7])
	}
	fmt.Println(scheme())
	if _, err := kit.Login(ctx, "ann@example.com", "admin123"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(scheme())
	// Output:
	// $pbkdf2
	// $2a$12$
}

// A common mistake: a handler of a public route calls UserFrom and ignores its
// second result. Public does not authenticate requests, not even those with a
// valid token. Guard the route, or call Kit.Identify.
func Example_incorrect() {
	kit := authkittest.NewKit(authkittest.Example{})
	mux := kit.NewMux()
	mux.HandleFunc("GET /me", authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context()) // the zero User
		_, _ = fmt.Fprintf(w, "%q", user.Email)
	})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 200 ""
}

// A login with a code that is sent by e-mail. A real program gives the same
// response for an address without an account.
func ExampleKit_LoginWith() {
	t := authkittest.Example{}
	kit := authkittest.NewKit(t)
	user := authkittest.User(t, kit)

	// The user asks for a code. The handle goes to the client, the code into the mail.
	ctx := context.Background()
	ticket, code := authkit.NewCodeTicket("email_code", user.ID, 10*time.Minute)
	ticket.Body = []byte(user.ID)
	if err := kit.Tickets().PutTicket(ctx, ticket); err != nil {
		log.Fatal(err)
	}
	handle := ticket.ID

	// The client sends both.
	attempt := authkit.Attempt{Action: authkit.ActionCode, Account: user.Email}
	token, err := kit.LoginWith(ctx, attempt, func(ctx context.Context) (authkit.Proof, error) {
		ticket, err := authkit.RedeemTicket(ctx, kit.Tickets(), "email_code", handle+"."+code)
		if err != nil {
			return authkit.Proof{}, err
		}
		return authkit.Proof{UserID: string(ticket.Body), Methods: []string{"email"}, Version: user.Version}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	_, p, err := kit.IdentifyToken(ctx, token.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Email, p.Methods)
	// Output: user1@example.com [email]
}

// A dangerous route requires a recent login. A client that is refused logs in
// again.
func ExamplePolicy_Fresh() {
	t := authkittest.Example{}
	kit := authkittest.NewKit(t)
	mux := kit.NewMux()
	mux.HandleFunc("DELETE /account", authkit.Authenticated().Fresh(5*time.Minute).Using("otp"), func(http.ResponseWriter, *http.Request) {})

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, authkittest.Request(t, kit, authkittest.User(t, kit), "DELETE", "/account", nil))
	fmt.Println(w.Code)
	for part := range strings.SplitSeq(w.Header().Get("WWW-Authenticate"), ", ") {
		fmt.Println(part)
	}
	// Output:
	// 401
	// Bearer error="insufficient_user_authentication"
	// error_description="A more recent or stronger login is required"
	// max_age="300"
	// acr_values="otp"
}

// A page with which strangers sign up. It responds in the same way whether or
// not the address has an account, and its mail tells the difference. Package
// account has complete pages, which also verify the address.
func ExampleKit_CreateUser() {
	kit := authkittest.NewKit(authkittest.Example{})
	mux := kit.NewMux()
	mux.HandleFunc("POST /signup", authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
		var form struct { // not a User, or the client could choose its roles
			Email    string `json:"email"`
			Password string `json:"password"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&form); err != nil {
			authkit.NewProblem(http.StatusBadRequest, "Malformed JSON").ServeHTTP(w, r)
			return
		}
		// Config.Throttle limits how often an address can sign up.
		err := kit.Admit(r.Context(), authkit.Attempt{Action: authkit.ActionRegister}, func(ctx context.Context) error {
			_, err := kit.CreateUser(ctx, authkit.User{Email: form.Email, Roles: []string{"user"}}, form.Password)
			if errors.Is(err, authkit.ErrEmailTaken) {
				return nil // send a mail to the owner of the address
			}
			return err
		})
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	for _, body := range []string{
		`{"email": "ann@example.com", "password": "correct horse"}`,
		`{"email": "ANN@example.com", "password": "another horse"}`,
		`{"email": "bob@example.com", "password": "short"}`,
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("POST", "/signup", strings.NewReader(body)))
		fmt.Println(w.Code)
	}
	// Output:
	// 202
	// 202
	// 422
}

// A job changes an account. Events name the job as the actor. No request can
// act as the job, because no route admits its principal.
func ExampleWithSystem() {
	t := authkittest.Example{}
	var events authkittest.Recorder
	kit := authkittest.NewKit(t, events.Listen)
	ann := authkittest.User(t, kit)
	events.Take() // the events so far

	ctx := authkit.WithSystem(context.Background(), "cleanup")
	if err := kit.DisableUser(ctx, ann.ID); err != nil {
		log.Fatal(err)
	}
	for _, e := range events.Take() {
		fmt.Println(e.Kind, "by", e.ActorID)
	}
	p, ok := authkit.PrincipalFrom(ctx)
	fmt.Println(p.Kind, p.Name, ok)
	fmt.Println(authkit.Authenticated().Check(p))
	// Output:
	// user_disabled by system:cleanup
	// system cleanup true
	// authkit: not enough permissions
}

// The access matrix lists every route with its policy. Compare it with a golden
// file in a test, so that a review sees each change.
func ExampleMux_AccessMatrix() {
	kit := authkittest.NewKit(authkittest.Example{}, func(c *authkit.Config) {
		c.Roles = map[string][]string{"admin": {"notes:read", "notes:write"}, "user": {"notes:read"}}
	})
	handler := http.NotFoundHandler()
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("GET /notes/{id}", authkit.Permissions("notes:read").OrMachines(), handler)
	mux.Handle("PUT /notes/{id}", authkit.Permissions("notes:write"), handler)
	mux.Handle("DELETE /users/{id}", authkit.Roles("admin").Fresh(5*time.Minute), handler)

	for _, route := range mux.AccessMatrix() {
		fmt.Printf("%-6s %-12s %s\n", route.Method, route.Pattern, route.Policy)
	}
	// Output:
	// GET    /notes/{id}  permissions: notes:read; or machines
	// PUT    /notes/{id}  permissions: notes:write
	// POST   /token       public
	// DELETE /users/{id}  roles: admin; fresh: 5m0s
}
