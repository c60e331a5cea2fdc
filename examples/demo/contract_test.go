package main

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"
)

// A contract is the OpenAPI document that a server serves, held against what it does.
type contract struct{ doc *openapi3.T }

func readContract(t testing.TB, url string) *contract {
	t.Helper()
	a, err := send(url, call{method: "GET", path: "/openapi.json"})
	require.NoError(t, err)
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(a.body)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(loader.Context, openapi3.EnableExamplesValidation()))
	return &contract{doc}
}

// check asserts that the document tells of the answer: its status, its type, its body,
// and if it is a success, that the request was one that the document allows.
func (c *contract) check(t testing.TB, a answer) {
	t.Helper()
	path, _, _ := strings.Cut(a.call.path, "?")
	item, params := c.find(path)
	if item == nil || item.GetOperation(a.call.method) == nil {
		return // a page, a HEAD, a 404 or a 405
	}
	req, err := http.NewRequest(a.call.method, "http://demo"+a.call.path, strings.NewReader(a.call.body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", a.call.contentType)
	input := &openapi3filter.RequestValidationInput{
		Request: req, QueryParams: req.URL.Query(), PathParams: params,
		Route:   &routers.Route{Spec: c.doc, Path: path, PathItem: item, Method: a.call.method, Operation: item.GetOperation(a.call.method)},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if a.status < 300 {
		require.NoError(t, openapi3filter.ValidateRequest(t.Context(), input), "%s %s: a request that the document does not allow", a.call.method, a.call.path)
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
	})
	require.NoError(t, err, "%s %s: an answer that the document does not tell of", a.call.method, a.call.path)
}

// find returns what the document says of a path, with its trailing slash or without.
func (c *contract) find(path string) (*openapi3.PathItem, map[string]string) {
	path = strings.TrimSuffix(path, "/")
	for documented, item := range c.doc.Paths.Map() {
		documented = strings.TrimSuffix(documented, "/")
		if documented == path {
			return item, nil
		}
	}
	for documented, item := range c.doc.Paths.Map() {
		if params, ok := matches(strings.TrimSuffix(documented, "/"), path); ok {
			return item, params
		}
	}
	return nil, nil
}

// matches returns the parameters of a path, segment by segment, if the path is a documented one.
func matches(documented, path string) (map[string]string, bool) {
	names, values := strings.Split(documented, "/"), strings.Split(path, "/")
	if len(names) != len(values) {
		return nil, false
	}
	params := map[string]string{}
	for i, name := range names {
		parameter, ok := strings.CutPrefix(name, "{")
		switch {
		case ok && values[i] != "":
			params[strings.TrimSuffix(parameter, "}")] = values[i]
		case name != values[i]:
			return nil, false
		}
	}
	return params, len(params) > 0
}

// pagePaths are the routes for people, which the document leaves out.
var pagePaths = []string{"/{$}", "/docs", "/redoc", "/openapi.json", "/passkey", "/factors"}

// endsAllOthers is the route that has no form with a trailing slash, which is that of an empty ID.
const endsAllOthers = "DELETE /users/me/sessions"

// TestDocumentMatchesRoutes holds the document against the access matrix, in both
// directions: every route is documented, with the roles that it asks for, and
// everything documented is a route, without its trailing slash and, but for one, with it.
func TestDocumentMatchesRoutes(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"whole": true, "without what flags turn off": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, generateHash := testConfig(t), whole
			cfg.generateHash = generateHash
			if whole {
				cfg.providers = []oidclogin.Provider{oidclogin.GitHub("id", "secret")}
			}
			service, err := newServer(t.Context(), cfg)
			require.NoError(t, err)
			contract := readContract(t, start(t, cfg))

			documented := make(map[string]string) // route to policy
			for path, item := range contract.doc.Paths.Map() {
				for method, operation := range item.Operations() {
					policy := documentedPolicy(t, operation)
					bare := strings.TrimSuffix(path, "/")
					documented[method+" "+bare] = policy
					if method+" "+bare != endsAllOthers && !hasOneForm(bare) {
						documented[method+" "+bare+"/{$}"] = policy
					}
				}
			}
			registered := make(map[string]string)
			for _, route := range service.mux.AccessMatrix() {
				if after, ok := strings.CutPrefix(route.Pattern, accountPath+"/"); ok {
					// GET is the page of a form, and POST takes a form or JSON.
					method := map[bool]string{true: "GET", false: "POST"}[after == "export"]
					require.Empty(t, route.Method)
					registered[method+" "+route.Pattern] = route.Policy.String()
					continue
				}
				if isSocialPage(route) {
					continue
				}
				if isPage(route) {
					require.Equal(t, authkit.Public().String(), route.Policy.String())
					continue
				}
				registered[route.Method+" "+route.Pattern] = route.Policy.String()
			}
			require.Equal(t, registered, documented)
			require.Equal(t, generateHash, registered["POST /generate-hash"] != "")
		})
	}
}

// hasOneForm reports whether a path has no form with a trailing slash: those of packages.
func hasOneForm(path string) bool {
	return path == "/board" || slices.ContainsFunc([]string{accountPath, passkeyPath, orgPath, socialPath, keysPath, servicesPath, "/items", factorPath, devicePath}, func(prefix string) bool {
		return strings.HasPrefix(path+"/", prefix+"/")
	})
}

// isSocialPage reports whether a route is one for the pages of the logins with other providers, and
// for the session cookies that these turn on.
func isSocialPage(route authkit.Route) bool {
	if slices.Contains([]string{"/login", "/profile", "/profile/logout", "/passkeys/login/cookie"}, route.Pattern) {
		return true
	}
	return strings.HasPrefix(route.Pattern, socialPath+"/") && !(strings.HasPrefix(route.Pattern, socialPath+"/identities") && route.Method != "POST")
}

func isPage(route authkit.Route) bool {
	return slices.ContainsFunc(pagePaths, func(path string) bool {
		return route.Pattern == path || strings.HasPrefix(route.Pattern, path+"/")
	})
}

// documentedPolicy returns what an operation says of who may use it, in the words of
// authkit.Policy.
func documentedPolicy(t *testing.T, operation *openapi3.Operation) string {
	t.Helper()
	require.NotNil(t, operation.Security, operation.OperationID)
	if len(*operation.Security) == 0 {
		require.NotContains(t, operation.Description, "Required role")
		return authkit.Public().String()
	}
	require.Equal(t, openapi3.SecurityRequirements{{"OAuth2PasswordBearer": {}}}, *operation.Security)
	switch first, _, _ := strings.Cut(operation.Description, "\n"); first {
	case "Required role: none, any enabled account.":
		return authkit.Authenticated().String()
	case "Required role: none, any enabled account, with a login of the last five minutes.":
		return authkit.Authenticated().Fresh(5 * time.Minute).String()
	case "Required role: a member of `{org}`.":
		return "authenticated; and: member of {org}"
	case "Required role: a member of `{org}`, with a login of the last 5 minutes.":
		return "authenticated; fresh: 5m0s; and: member of {org}"
	case "Required role: a member of `{org}` with the permission `org:members`.":
		return "authenticated; and: member of {org}: org:members"
	case "Required role: a member of the active organization.":
		return "authenticated; and: member of the active organization"
	case "Required role: `admin`, with a login of the last five minutes.":
		return authkit.Roles("admin").Fresh(5 * time.Minute).String()
	case "Required permission: `items:read`; API keys and services are admitted.":
		return authkit.Permissions("items:read").OrMachines().String()
	case "Required role: none, any enabled account, with a second factor in the last five minutes.":
		return authkit.Authenticated().Using(authkit.MethodMultiple).Fresh(5 * time.Minute).String()
	case "Required role: `admin`.":
		return authkit.Roles("admin").String()
	}
	t.Fatal("no required role in the description of ", operation.OperationID)
	return ""
}

// TestDocument asserts what clients of the original rely on.
func TestDocument(t *testing.T) {
	t.Parallel()
	doc := readContract(t, start(t, testConfig(t))).doc
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.Equal(t, "Backend Security Demo", doc.Info.Title)
	require.Equal(t, "OAuth2 Password Flow Demo", doc.Info.Description)
	require.Equal(t, "1.0.0", doc.Info.Version)
	require.ElementsMatch(t, []string{"User", "NewUser", "UserCreate", "Token", "Session", "Organization", "Membership", "Member", "Invitation", "Board", "AuditPage", "AuditEntry", "Problem", "Passkey", "AcceptedCredentials", "CredentialOptions", "Credential", "FactorStatus", "AppEnrollment", "RecoveryCodes", "Device", "APIKey", "IssuedKey", "NewKey", "Service"}, slices.Collect(maps.Keys(doc.Components.Schemas)))

	scheme := doc.Components.SecuritySchemes["OAuth2PasswordBearer"].Value
	require.Equal(t, "oauth2", scheme.Type)
	require.Equal(t, "token", scheme.Flows.Password.TokenURL)
	require.Equal(t, "token", scheme.Flows.Password.RefreshURL)

	var roles []any
	for _, role := range slices.Sorted(maps.Keys(roleTable())) {
		roles = append(roles, role)
	}
	require.Equal(t, roles, doc.Components.Schemas["UserCreate"].Value.Properties["roles"].Value.Items.Value.Enum)

	base, err := url.Parse("http://127.0.0.1:8000/docs")
	require.NoError(t, err)
	require.Contains(t, doc.Paths.Map(), base.ResolveReference(&url.URL{Path: scheme.Flows.Password.TokenURL}).Path)
}
