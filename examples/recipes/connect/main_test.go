package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/examples/recipes/recipestest"
	"github.com/authkit-go/authkit/throttle"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const greeter, admin = "/greet.v1.Greeter/Hello", "/admin.v1.Admin/Hello"

// target adds an empty message to GET requests. The Connect protocol has it in
// the query, and the routes of a target are paths.
func target(t *testing.T, paths ...contract.Route) contract.Target {
	t.Helper()
	all := recipestest.Target(t, routes, paths...)
	service := all.Handler
	all.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			r.URL.RawQuery += "&connect=v1&encoding=json&message=%7B%7D"
		}
		service.ServeHTTP(w, r)
	})
	return all
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, target(t,
		contract.Route{Method: "GET", Path: greeter, Access: contract.LoggedIn},
		contract.Route{Method: "POST", Path: greeter, Access: contract.LoggedIn},
		contract.Route{Method: "GET", Path: admin, Access: contract.AdminOnly},
		contract.Route{Method: "POST", Path: admin, Access: contract.AdminOnly}))
}

// The procedures withstand bad messages, too. One attack of low severity
// succeeds: if a message is no JSON, Connect responds with the name of its Go
// type.
func TestMessages(t *testing.T) {
	t.Parallel()
	report, err := contract.Check(t.Context(), target(t,
		contract.Route{Method: "GET", Path: greeter, Access: contract.LoggedIn},
		contract.Route{Method: "POST", Path: admin, Access: contract.AdminOnly, Body: "{}"}))
	require.NoError(t, err)
	for _, result := range report.Results {
		if result.ID == "leak.type" {
			require.Equal(t, "the response has *emptypb.Empty", result.Note)
			continue
		}
		require.Contains(t, []contract.Outcome{contract.Withstood, contract.NotApplicable}, result.Outcome, result.ID+": "+result.Note)
	}
}

// Clients of every protocol get the codes of Connect for the responses of the
// guards.
func TestCodes(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t)
	limits, err := throttle.New(throttle.Config{Secret: []byte(rand.Text() + rand.Text())})
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(routes(kit, limits))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	for name, option := range map[string]connect.ClientOption{"Connect": connect.WithHTTPGet(), "gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb()} {
		t.Run(name, func(t *testing.T) {
			call := func(path, token string) (string, connect.Code) {
				client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+path, option)
				ctx, info := connect.NewClientContext(context.Background())
				info.RequestHeader().Set("Authorization", "Bearer "+token)
				response, err := client.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{}))
				if err != nil {
					return "", connect.CodeOf(err)
				}
				return response.Msg.GetValue(), 0
			}
			user := authkittest.User(t, kit, "user")
			token := authkittest.LoginAs(t, kit, user).AccessToken
			said, code := call(greeter, token)
			require.Zero(t, code)
			require.Equal(t, "hello, "+user.Email, said)
			_, code = call(greeter, "bad")
			require.Equal(t, connect.CodeUnauthenticated, code)
			_, code = call(admin, token)
			require.Equal(t, connect.CodePermissionDenied, code)
			_, code = call(admin, authkittest.Login(t, kit, "admin").AccessToken)
			require.Zero(t, code)
		})
	}
}
