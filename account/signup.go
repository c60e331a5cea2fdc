package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

const emailRule = "must be an e-mail address"

// normal returns an address in its stored form.
func normal(email string) (string, error) {
	email, err := authkit.NormalizeEmail(email)
	if err != nil {
		return "", invalid("email", emailRule)
	}
	return email, nil
}

// invalid returns the error of one field.
func invalid(field, message string) error {
	return &authkit.ValidationError{Fields: []authkit.FieldError{{Field: field, Message: message}}}
}

// ask stores the job of a request from a stranger. It does the same for every
// address.
func (a *Accounts) ask(ctx context.Context, action string, t task) error {
	t.Language = languageOf(ctx)
	return a.kit.Admit(ctx, authkit.Attempt{Action: action, Account: t.Email}, func(ctx context.Context) error {
		if err := a.put(ctx, t, now().Add(askLife)); err != nil {
			return a.failed(ctx, err)
		}
		a.nudge()
		return nil
	})
}

// Register sends a mail to an address. The mail has a link for
// [Accounts.SignUp]. If the address has an account, it explains how to log in
// instead. Call it again to send the mail again: the new link voids the old
// one. The link is good for 24 hours.
//
// The errors are:
//   - A *ValidationError if the text is not an e-mail address.
//   - A *ThrottledError if authkit.Config.Throttle refuses the attempt.
//   - ErrUnavailable, or the error of ctx.
func (a *Accounts) Register(ctx context.Context, email string) error {
	email, err := normal(email)
	if err != nil {
		return err
	}
	return a.ask(ctx, authkit.ActionRegister, task{Kind: taskRegister, Email: email})
}

// A NewAccount is the input of [Accounts.SignUp].
type NewAccount struct {
	Password string
	FullName string

	// Fields are the fields of your program, as a JSON object; see [OnSignUp].
	Fields json.RawMessage
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a NewAccount does not reveal its password.
func (NewAccount) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("account.NewAccount{[redacted]}"))
}

// LogValue implements slog.LogValuer. It returns a fixed text.
func (n NewAccount) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(n)) }

// SignUp creates the account of an address, for the token of the link that was
// mailed to it. The address counts as verified. SignUp does not log in.
//
// The errors are:
//   - ErrInvalidTicket if the token is unknown, used, expired or void, or if
//     the address has an account by now.
//   - A *ValidationError with every invalid field.
//   - Any error of [Config].SignUp. The link stays good.
//   - ErrOverloaded, ErrUnavailable, or the error of ctx.
func (a *Accounts) SignUp(ctx context.Context, token string, n NewAccount) (authkit.User, error) {
	ctx = system(ctx)
	t, _, err := a.opened(ctx, ticketSignUp, token)
	if err != nil {
		return authkit.User{}, err
	}
	u := authkit.User{Email: t.Subject, FullName: n.FullName, Roles: a.roles, EmailVerifiedAt: now()}
	if err := a.checkNew(ctx, u, n); err != nil {
		return authkit.User{}, err
	}
	prepared, err := a.kit.PreparePassword(ctx, u, n.Password)
	if err != nil {
		return authkit.User{}, err
	}
	err = a.inTx(prepared, func(ctx context.Context) error {
		if err := a.consume(ctx, t); err != nil {
			return err
		}
		created, err := a.kit.CreateUser(ctx, u, n.Password)
		if err != nil {
			return lost(err)
		}
		u = created
		return a.signUp.run(ctx, u, n.Fields)
	})
	if err != nil {
		return authkit.User{}, err
	}
	return u, nil
}

// checkNew returns a *ValidationError with every invalid field but the
// password, and then that one too, or nil.
func (a *Accounts) checkNew(ctx context.Context, u authkit.User, n NewAccount) error {
	var fields []authkit.FieldError
	for _, err := range []error{a.signUp.check(n.Fields), a.kit.CheckUser(ctx, u, "")} { // which ends at the empty password
		if v, ok := errors.AsType[*authkit.ValidationError](err); ok {
			fields = append(fields, slices.DeleteFunc(v.Fields, func(f authkit.FieldError) bool { return f.Field == "password" })...)
		} else if err != nil {
			return err
		}
	}
	if len(fields) == 0 {
		return nil
	}
	err := a.kit.CheckUser(ctx, authkit.User{Email: u.Email}, n.Password)
	if v, ok := errors.AsType[*authkit.ValidationError](err); ok {
		fields = append(fields, v.Fields...)
	} else if err != nil {
		return err
	}
	return &authkit.ValidationError{Fields: fields}
}

// A SignUpHook receives the fields of a program when an account signs up. Make
// one with [OnSignUp]. The zero value takes no fields.
type SignUpHook struct {
	fields map[string]reflect.Kind // by their names in JSON
	names  []string                // in their order
	decode func(json.RawMessage) (any, error)
	call   func(ctx context.Context, u authkit.User, fields any) error
}

// OnSignUp returns the hook that calls f for each account that signs up. T is a
// struct; its fields are the only ones that a client can set, under exactly the
// names of their JSON form. Everything else is refused, such as "roles", "id"
// or "is_admin". Within a field that is a struct, names may differ in case, as
// in encoding/json.
//
// OnSignUp calls f in the transaction that creates the account, with a context
// that carries it. If f returns an error, there is no account. To show the
// error beside a field, return a *authkit.ValidationError. The store may call f
// again after a deadlock, so f must have no effect except on the store.
//
// The page of a sign-up has an input for each text, number and bool of T. Its
// label is the one in the texts, or else the name.
//
// It panics if T is not a struct or has a field named "token", "password" or
// "full_name".
func OnSignUp[T any](f func(ctx context.Context, u authkit.User, fields T) error) SignUpHook {
	typ := reflect.TypeFor[T]()
	if typ.Kind() != reflect.Struct || f == nil {
		panic("account: OnSignUp: use a function with a struct for the fields")
	}
	h := SignUpHook{fields: map[string]reflect.Kind{}}
	for _, field := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || field.Anonymous && name == "" || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if slices.Contains([]string{"token", "password", "full_name"}, name) {
			panic("account: OnSignUp: a field has the name " + name)
		}
		h.fields[name] = field.Type.Kind()
		h.names = append(h.names, name)
	}
	h.decode = func(raw json.RawMessage) (any, error) {
		var fields T
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		err := d.Decode(&fields)
		return fields, err
	}
	h.call = func(ctx context.Context, u authkit.User, fields any) error { return f(ctx, u, fields.(T)) }
	return h
}

// inputs returns the inputs of a form for the fields that one can have: texts,
// numbers and check boxes.
func (h SignUpHook) inputs() (list []input) {
	for _, name := range h.names {
		switch kind := h.fields[name]; {
		case kind == reflect.String:
			list = append(list, input{name: name, kind: "text", optional: true})
		case kind == reflect.Bool:
			list = append(list, input{name: name, kind: "checkbox", optional: true})
		case isNumber(kind):
			list = append(list, input{name: name, kind: "number", optional: true})
		}
	}
	return list
}

func isNumber(kind reflect.Kind) bool { return kind >= reflect.Int && kind <= reflect.Float64 }

const (
	fieldsRule  = "must be an object with the fields of a sign-up, each once"
	unknownRule = "is not a field of a sign-up"
	typeRule    = "is not valid"
)

// check returns a *ValidationError if the fields are not those of the hook, or
// nil.
func (h SignUpHook) check(raw json.RawMessage) error {
	_, err := h.parse(raw)
	return err
}

// parse decodes the fields. The names are compared exactly, and each may be
// there once.
func (h SignUpHook) parse(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		raw = json.RawMessage(`{}`)
	}
	names, err := members(raw)
	if err != nil {
		return nil, invalid("fields", fieldsRule)
	}
	for _, name := range names {
		if _, ok := h.fields[name]; !ok {
			return nil, invalid(clip(name), unknownRule)
		}
	}
	if h.decode == nil {
		return nil, nil
	}
	fields, err := h.decode(raw)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, invalid(e.Field, typeRule)
	}
	if err != nil {
		return nil, invalid("fields", fieldsRule)
	}
	return fields, nil
}

// clip returns the front of a name that a client chose.
func clip(name string) string {
	name = displayName(name)
	return strings.ToValidUTF8(name[:min(len(name), 64)], "")
}

// run calls the hook.
func (h SignUpHook) run(ctx context.Context, u authkit.User, raw json.RawMessage) error {
	if h.call == nil {
		return nil
	}
	fields, err := h.parse(raw)
	if err != nil {
		return err
	}
	return h.call(ctx, u, fields)
}

var errMembers = errors.New("account: not an object whose names occur once")

// members returns the names of a JSON object, each of which occurs once.
func members(raw []byte) (names []string, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errMembers
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errMembers
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil || slices.Contains(names, name.(string)) {
			return nil, errMembers
		}
		names = append(names, name.(string))
	}
	if _, err := d.Token(); err != nil {
		return nil, errMembers
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errMembers
	}
	return names, nil
}
