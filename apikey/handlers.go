package apikey

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const maxBody = 16 << 10

// Mount adds the routes for users to a Mux, below a path such as
// "/users/me/keys". It panics as [authkit.Mux.Handle] does. They take and return
// JSON:
//
//	GET    path               the keys of the user         200, a list of Key
//	POST   path               create a key                 201, an Issued
//	POST   path/{id}/rotate   give it a new secret         200, an Issued
//	DELETE path/{id}          revoke it                    204
//	POST   path/leaked        revoke a key that was found  204; public
//
// All routes but the last require a login that is at most five minutes old. The
// body of a new key has the members below, all of which are optional. The owner
// is always the user of the request: a body with another member is refused.
//
//	{"name": "backup", "scopes": ["notes:read"], "networks": ["192.0.2.0/24"], "expires_in": 7776000}
//
// A rotation takes {"overlap": 3600}, and a report {"key": "ak_..."}. Durations
// are in seconds. The response to a report is 204 whether or not the key exists;
// see [Keys.RevokeLeaked].
func (k *Keys) Mount(mux *authkit.Mux, path string) {
	path = strings.TrimSuffix(path, "/")
	user := authkit.Authenticated().Fresh(fresh)
	mux.HandleFunc("GET "+path, user, k.listOf(self))
	mux.HandleFunc("POST "+path, user, k.createOf(self))
	mux.HandleFunc("POST "+path+"/{id}/rotate", user, k.rotateOf(self, "id"))
	mux.HandleFunc("DELETE "+path+"/{id}", user, k.revokeOf(self, "id"))
	mux.HandleFunc("POST "+path+"/leaked", authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Key string `json:"key"`
		}
		if err := decode(w, r, &body); err != nil {
			refuse(w, r, err)
			return
		}
		answer(w, r, http.StatusNoContent, nil, k.RevokeLeaked(contextOf(r), body.Key))
	})
}

// listOf returns a handler that lists the keys of the owner that a request
// names.
func (k *Keys) listOf(owner func(*http.Request) Owner) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		keys, err := k.List(r.Context(), owner(r))
		answer(w, r, http.StatusOK, keys, err)
	}
}

// createOf returns a handler that creates a key.
func (k *Keys) createOf(owner func(*http.Request) Owner) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body keyBody
		o, err := body.options(w, r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		key, err := k.Create(contextOf(r), owner(r), o)
		answer(w, r, http.StatusCreated, key, err)
	}
}

// rotateOf returns a handler that rotates the key of a part of the path.
func (k *Keys) rotateOf(owner func(*http.Request) Owner, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Overlap int64 `json:"overlap"`
		}
		if err := decode(w, r, &body); err != nil {
			refuse(w, r, err)
			return
		}
		key, err := k.Rotate(contextOf(r), owner(r), r.PathValue(part), seconds(body.Overlap))
		answer(w, r, http.StatusOK, key, err)
	}
}

// revokeOf returns a handler that revokes the key of a part of the path.
func (k *Keys) revokeOf(owner func(*http.Request) Owner, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, http.StatusNoContent, nil, k.Revoke(contextOf(r), owner(r), r.PathValue(part)))
	}
}

// keyBody is the body of a new key.
type keyBody struct {
	Name      string         `json:"name"`
	Scopes    []string       `json:"scopes"`
	Networks  []netip.Prefix `json:"networks"`
	ExpiresIn int64          `json:"expires_in"`
}

func (b *keyBody) options(w http.ResponseWriter, r *http.Request) (Options, error) {
	err := decode(w, r, b)
	return Options{Name: b.Name, Scopes: b.Scopes, Networks: b.Networks, Life: seconds(b.ExpiresIn)}, err
}

// seconds returns a duration. One that is too long is refused later.
func seconds(n int64) time.Duration {
	const most = int64(10 * maxLife / time.Second)
	return time.Duration(min(max(n, -1), most)) * time.Second
}

// self returns the user of a request.
func self(r *http.Request) Owner {
	p, _ := authkit.PrincipalFrom(r.Context())
	return OfUser(p.UserID)
}

var (
	errNotJSON = errors.New("apikey: the body is not JSON")
	errBody    = errors.New("apikey: the body is not an object with the members of this request")
)

// decode reads a JSON object. Another member than those of v is an error.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return errNotJSON
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	return errBody
}

// answer writes the response to a request.
func answer(w http.ResponseWriter, r *http.Request, status int, value any, err error) {
	if err != nil {
		refuse(w, r, err)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // an error means that the client is gone
}

// refuse writes the response to an error.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := authkit.ProblemFor(err)
	switch {
	case errors.Is(err, errNotJSON):
		p = authkit.NewProblem(http.StatusUnsupportedMediaType, "Send a JSON object")
	case errors.Is(err, errBody):
		p = authkit.NewProblem(http.StatusBadRequest, "The body is not a JSON object with the members of this request")
	case errors.Is(err, ErrNotFound):
		p = authkit.NewProblem(http.StatusNotFound, "Not found")
	case errors.Is(err, ErrExists):
		p = authkit.NewProblem(http.StatusConflict, "The ID is taken")
	case errors.Is(err, ErrConflict):
		p = authkit.NewProblem(http.StatusConflict, "The key was rotated meanwhile")
	case errors.Is(err, ErrTooManyKeys):
		p = authkit.NewProblem(http.StatusConflict, "There are too many keys; revoke one first")
	}
	p.ServeHTTP(w, r)
}
