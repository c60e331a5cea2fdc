package routers_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// sessionRouters are routers with the routes that list and end sessions.
func sessionRouters(kit *authkit.Kit) map[string]http.Handler {
	list, endOthers, end := kit.Authenticate(kit.SessionsHandler()), kit.Authenticate(kit.EndOtherSessionsHandler()), kit.Authenticate(kit.EndSessionHandler())

	mux := http.NewServeMux()
	mux.Handle("GET /sessions", list)
	mux.Handle("DELETE /sessions", endOthers)
	mux.Handle("DELETE /sessions/{id}", end)

	c := chi.NewRouter()
	c.Method("GET", "/sessions", list)
	c.Method("DELETE", "/sessions", endOthers)
	c.Method("DELETE", "/sessions/{id}", end)
	c.Method("DELETE", "/sessions/", end)
	c.Method("DELETE", "/mine/{session}", end) // with another name

	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.GET("/sessions", gin.WrapH(list))
	g.DELETE("/sessions", gin.WrapH(endOthers))
	g.DELETE("/sessions/:id", gin.WrapH(end))
	g.DELETE("/mine/:session", gin.WrapH(end))

	e := echo.New()
	e.GET("/sessions", echo.WrapHandler(list))
	e.DELETE("/sessions", echo.WrapHandler(endOthers))
	e.DELETE("/sessions/:id", echo.WrapHandler(end))
	e.DELETE("/mine/:session", echo.WrapHandler(end))

	return map[string]http.Handler{"ServeMux": mux, "chi": c, "gin": g, "echo": e}
}

// The handlers of sessions mean the same behind every router.
func TestSessions(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	for name, router := range sessionRouters(kit) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user, err := kit.CreateUser(t.Context(), authkit.User{Email: name + "@example.com"}, "correct horse")
			require.NoError(t, err)
			var tokens, ids []string
			for range 4 {
				token, err := kit.Login(t.Context(), user.Email, "correct horse")
				require.NoError(t, err)
				ctx, p, err := kit.IdentifyToken(t.Context(), token.AccessToken)
				require.NoError(t, err)
				require.NotNil(t, ctx)
				tokens, ids = append(tokens, token.AccessToken), append(ids, p.SessionID)
			}
			send := func(method, path string) int {
				r := httptest.NewRequest(method, path, nil)
				r.Header.Set("Authorization", "Bearer "+tokens[0])
				w := httptest.NewRecorder()
				router.ServeHTTP(w, r)
				return w.Code
			}
			left := func() (left []string) {
				sessions, err := kit.Sessions(t.Context(), user.ID)
				require.NoError(t, err)
				for _, s := range sessions {
					left = append(left, s.ID)
				}
				return left
			}
			require.Equal(t, http.StatusOK, send("GET", "/sessions"))
			require.Equal(t, http.StatusNoContent, send("DELETE", "/sessions/"+ids[1]))
			require.ElementsMatch(t, []string{ids[0], ids[2], ids[3]}, left(), "one session, and no other")
			require.Equal(t, http.StatusNotFound, send("DELETE", "/sessions/"+ids[1]))
			require.NotEqual(t, http.StatusNoContent, send("DELETE", "/sessions/"))
			require.Len(t, left(), 3, "an empty ID ends no session")
			if name != "ServeMux" {
				require.Equal(t, http.StatusNoContent, send("DELETE", "/mine/"+ids[2]))
				require.ElementsMatch(t, []string{ids[0], ids[3]}, left())
			}
			require.Equal(t, http.StatusNoContent, send("DELETE", "/sessions"))
			require.Equal(t, ids[:1], left(), "all others")
		})
	}
}
