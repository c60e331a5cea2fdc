package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

var _ authkit.ClientAuthenticator = (*Authenticator)(nil)

// AuthenticateClient implements [authkit.ClientAuthenticator]. The ID is that of
// a [Service], and the secret is the text of one of its keys. It applies the
// networks and the throttle of the key.
func (a *Authenticator) AuthenticateClient(ctx context.Context, clientID, secret string) (authkit.Credential, error) {
	k, mark, err := a.find(ctx, secret)
	if err == nil && (k.ServiceID == "" || k.ServiceID != clientID) {
		err = authkit.ErrInvalidToken
	}
	var c authkit.Credential
	if err == nil {
		c, err = a.use(ctx, &k.Key, mark)
	}
	if errors.Is(err, authkit.ErrInvalidToken) {
		return authkit.Credential{}, authkit.ErrInvalidCredentials
	}
	c.ID = k.ID // tokens of both secrets end together
	return c, err
}

// ClientCredential implements [authkit.ClientAuthenticator].
func (a *Authenticator) ClientCredential(ctx context.Context, clientID, credentialID string) (authkit.Credential, error) {
	k, err := a.store.KeyByID(ctx, credentialID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && (k.ID != credentialID || k.ServiceID == "" || k.ServiceID != clientID):
		return authkit.Credential{}, authkit.ErrInvalidToken
	case err != nil:
		return authkit.Credential{}, fmt.Errorf("apikey: %w", err)
	}
	return a.credential(ctx, &k.Key)
}

// credential returns the credential of a key, with the roles that its service
// has now.
func (a *Authenticator) credential(ctx context.Context, k *Key) (authkit.Credential, error) {
	c := authkit.Credential{
		Kind: "api_key", ID: k.ID, UserID: k.UserID, Service: k.ServiceID, Machine: true, Limited: true, Permissions: k.Scopes,
		IssuedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	}
	if k.ServiceID == "" {
		return c, nil
	}
	s, err := a.store.ServiceByID(ctx, k.ServiceID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && s.ID != k.ServiceID:
		return authkit.Credential{}, authkit.ErrInvalidToken
	case err != nil:
		return authkit.Credential{}, fmt.Errorf("apikey: %w", err)
	}
	c.Roles = s.Roles
	return c, nil
}

const maxServiceID = 64

// mayManageServices returns why the principal of ctx may not manage services, or
// nil.
func (k *Keys) mayManageServices(ctx context.Context) error {
	return k.mayManage(ctx, OfService("any"))
}

// checkService returns the invalid fields of a service.
func (k *Keys) checkService(id string, roles []string) error {
	var fields []authkit.FieldError
	bad := strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
	if id == "" || len(id) > maxServiceID || bad {
		fields = append(fields, authkit.FieldError{Field: "id", Message: "must be 1 to 64 of a to z, 0 to 9, dot, hyphen and underscore"})
	}
	unknown := slices.ContainsFunc(roles, func(role string) bool { _, ok := k.roles[role]; return !ok })
	sorted := slices.Sorted(slices.Values(roles))
	if unknown || len(slices.Compact(sorted)) != len(roles) {
		fields = append(fields, authkit.FieldError{Field: "roles", Message: "must be roles of this service, each once"})
	}
	if fields != nil {
		return &authkit.ValidationError{Fields: fields}
	}
	return nil
}

// CreateService creates a service. Its roles must be in the role table of the
// Kit. Its ID is the "sub" of its tokens, so it must not be the ID of an account.
// The call refuses one that exists. Do not give such an ID to an account later,
// and use another one than [authkit.TokenConfig].ClientID.
//
// The errors are a *authkit.ValidationError, ErrExists if a service or an account
// has the ID, those of [Keys.Create]
// about the principal, and authkit.ErrUnavailable.
func (k *Keys) CreateService(ctx context.Context, id string, roles ...string) (Service, error) {
	if err := k.mayManageServices(ctx); err != nil {
		return Service{}, err
	}
	if err := k.checkService(id, roles); err != nil {
		return Service{}, err
	}
	switch _, err := k.kit.User(authkit.WithSystem(ctx, "apikey"), id); { // the look-up is of the program
	case err == nil:
		return Service{}, ErrExists
	case !errors.Is(err, authkit.ErrUserNotFound):
		return Service{}, err
	}
	s := Service{ID: id, Roles: append([]string{}, roles...), CreatedAt: now()}
	if err := k.auth.store.CreateService(ctx, s); err != nil {
		return Service{}, k.failed(ctx, err)
	}
	k.emitService(ctx, authkit.EventServiceCreated, id)
	return s, nil
}

// Services returns at most 100 services with an ID greater than after, ordered
// by ID. The errors are those of [Keys.Create] about the principal, and
// authkit.ErrUnavailable.
func (k *Keys) Services(ctx context.Context, after string) ([]Service, error) {
	const page = 100
	if err := k.mayManageServices(ctx); err != nil {
		return nil, err
	}
	list, err := k.auth.store.Services(ctx, after, page)
	if err != nil {
		return nil, k.failed(ctx, err)
	}
	return append([]Service{}, list...), nil // in JSON an empty list, not null
}

// SetServiceRoles replaces the roles of a service. Its keys, and its tokens at
// this Kit, have the new ones at the next request. Guards of
// [authkit.NewGuard] see them when the service gets its next token, within five
// minutes.
//
// The errors are those of [Keys.CreateService], and ErrNotFound.
func (k *Keys) SetServiceRoles(ctx context.Context, id string, roles ...string) error {
	if err := k.mayManageServices(ctx); err != nil {
		return err
	}
	if err := k.checkService(id, roles); err != nil {
		return err
	}
	if err := k.auth.store.SetServiceRoles(ctx, id, append([]string{}, roles...)); err != nil {
		return k.failed(ctx, err)
	}
	k.emitService(ctx, authkit.EventServiceUpdated, id)
	return nil
}

// DeleteService deletes a service with its keys, and revokes its tokens. The
// errors are those of [Keys.Revoke]. After authkit.ErrUnavailable, call it
// again.
func (k *Keys) DeleteService(ctx context.Context, id string) error {
	owner := OfService(id)
	if err := k.mayManageServices(ctx); err != nil {
		return err
	}
	keys, err := k.auth.store.KeysByOwner(ctx, owner)
	if err != nil {
		return k.failed(ctx, err)
	}
	for i := range keys {
		if err := k.kit.RevokeServiceTokens(ctx, id, keys[i].ID); err != nil {
			return err
		}
	}
	if err := k.auth.store.DeleteService(ctx, id); err != nil {
		return k.failed(ctx, err)
	}
	k.emitService(ctx, authkit.EventServiceDeleted, id)
	return nil
}

// emitService emits the event of a change of a service.
func (k *Keys) emitService(ctx context.Context, kind authkit.EventKind, id string) {
	k.kit.Emit(ctx, authkit.Event{Kind: kind, UserID: servicePrefix + id})
}

// servicePrefix begins the name of a service in events.
const servicePrefix = "service:"

// MountServices adds the routes for administrators to a Mux, below a path such
// as "/admin/services". It panics as [authkit.Mux.Handle] does, and if
// [authkit.Config].AdminRole is not in the role table. They take and return
// JSON, as those of [Keys.Mount] do:
//
//	GET    path                          the services, from ?after=  200, a list of Service
//	POST   path                          {"id", "roles"}             201, a Service
//	PUT    path/{id}/roles               {"roles"}                   204
//	DELETE path/{id}                     with its keys               204
//	GET    path/{id}/keys                                            200, a list of Key
//	POST   path/{id}/keys                a new key                   201, an Issued
//	POST   path/{id}/keys/{key}/rotate                               200, an Issued
//	DELETE path/{id}/keys/{key}                                      204
//
// All routes require a login as administrator that is at most five minutes old.
func (k *Keys) MountServices(mux *authkit.Mux, path string) {
	path = strings.TrimSuffix(path, "/")
	admin := authkit.Roles(k.admin).Fresh(fresh)
	mux.HandleFunc("GET "+path, admin, func(w http.ResponseWriter, r *http.Request) {
		list, err := k.Services(r.Context(), r.URL.Query().Get("after"))
		answer(w, r, http.StatusOK, list, err)
	})
	mux.HandleFunc("POST "+path, admin, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			ID    string   `json:"id"`
			Roles []string `json:"roles"`
		}
		if err := decode(w, r, &body); err != nil {
			refuse(w, r, err)
			return
		}
		s, err := k.CreateService(contextOf(r), body.ID, body.Roles...)
		answer(w, r, http.StatusCreated, s, err)
	})
	mux.HandleFunc("PUT "+path+"/{id}/roles", admin, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Roles []string `json:"roles"`
		}
		if err := decode(w, r, &body); err != nil {
			refuse(w, r, err)
			return
		}
		answer(w, r, http.StatusNoContent, nil, k.SetServiceRoles(contextOf(r), r.PathValue("id"), body.Roles...))
	})
	mux.HandleFunc("DELETE "+path+"/{id}", admin, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, http.StatusNoContent, nil, k.DeleteService(contextOf(r), r.PathValue("id")))
	})
	service := func(r *http.Request) Owner { return OfService(r.PathValue("id")) }
	mux.HandleFunc("GET "+path+"/{id}/keys", admin, k.listOf(service))
	mux.HandleFunc("POST "+path+"/{id}/keys", admin, k.createOf(service))
	mux.HandleFunc("POST "+path+"/{id}/keys/{key}/rotate", admin, k.rotateOf(service, "key"))
	mux.HandleFunc("DELETE "+path+"/{id}/keys/{key}", admin, k.revokeOf(service, "key"))
}
