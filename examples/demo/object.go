package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/authkit-go/authkit"
)

// An object is a JSON object whose members are read one by one, each with its
// required type. Problems are appended to faults, one entry per member.
//
// It replaces a struct with tags, because encoding/json is too lenient for a
// contract: it ignores the case of names, and accepts null.
type object struct {
	members map[string]json.RawMessage
	faults  []authkit.FieldError
}

// readObject reads a JSON text that [checkJSON] has accepted. It reports false
// if the text is not an object.
func readObject(text []byte) (*object, bool) {
	o := new(object)
	err := json.Unmarshal(text, &o.members)
	return o, err == nil && o.members != nil
}

func (o *object) fault(name, message string) {
	o.faults = append(o.faults, authkit.FieldError{Field: name, Message: message})
}

// take decodes a member into value. It reports whether the member was present,
// and whether it had the right type.
func (o *object) take(name string, value any, must string) (there, fits bool) {
	text, there := o.members[name]
	delete(o.members, name)
	if !there {
		return false, false
	}
	if string(text) == "null" || json.Unmarshal(text, value) != nil {
		o.fault(name, must)
		return true, false
	}
	return true, true
}

// text reads a required string that must not be empty.
func (o *object) text(name string) string {
	var value string
	switch there, fits := o.take(name, &value, "must be a string"); {
	case !there:
		o.fault(name, "is required")
	case fits && value == "":
		o.fault(name, "must not be empty")
	}
	return value
}

// texts reads a list of strings. If it is absent, texts returns otherwise.
func (o *object) texts(name string, otherwise []string) []string {
	const must = "must be a list of strings"
	var values []*string // with nil for null
	if there, _ := o.take(name, &values, must); !there {
		return otherwise
	}
	texts := make([]string, 0, len(values))
	for _, value := range values {
		if value == nil {
			o.fault(name, must)
			break
		}
		texts = append(texts, *value)
	}
	return texts
}

// boolean reads a boolean. If it is absent, boolean returns false.
func (o *object) boolean(name string) bool {
	var value bool
	o.take(name, &value, "must be true or false")
	return value
}

// rest reports the members that were not read.
func (o *object) rest() {
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		o.fault(name, "is not a field that can be set here")
	}
	clear(o.members)
}
