package apidocs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A reference is the OpenAPI document arranged for web/reference.html. It
// supports the parts of OpenAPI that the document uses.
type reference struct {
	Title, Description, Version string
	Login                       string // how to log in
	Sections                    []section
	Schemas                     []namedSchema
}

type section struct {
	Name, Description string
	Operations        []operation
}

type namedSchema struct {
	Name string
	*schema
}

// The other types follow OpenAPI, with additional fields for the page.
type (
	document struct {
		Info struct{ Title, Description, Version string }
		Tags []struct{ Name, Description string }

		Paths      map[string]map[string]operation
		Components struct {
			Schemas         map[string]*schema
			Responses       map[string]response
			SecuritySchemes map[string]struct{ Description string }
		}
	}

	operation struct {
		Method, Path string // filled in
		Tags         []string
		OperationID  string
		Summary      string
		Description  string
		Security     []map[string][]string
		Parameters   []parameter
		RequestBody  struct {
			Description string
			Content     map[string]media
		}
		Responses map[string]response
	}

	parameter struct {
		Name, In, Description string
		Required              bool
		Schema                *schema
	}

	response struct {
		Ref         string `json:"$ref"`
		Description string
		Headers     map[string]struct{ Description string }
		Content     map[string]media
	}

	media struct {
		Schema  *schema
		Example any
	}

	schema struct {
		Ref                  string `json:"$ref"`
		Type                 string
		Format               string
		Description          string
		Required             []string
		Properties           map[string]*schema
		Items                *schema
		Enum                 []any
		Const                any
		Default              any
		Examples             []any
		Minimum, Maximum     *int
		MinLength, MaxLength *int
	}
)

// newReference arranges an OpenAPI document: operations by tag, in the order of
// the tags, and within a tag by path.
func newReference(openAPI []byte) (reference, error) {
	var doc document
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return reference{}, err
	}
	ref := reference{Title: doc.Info.Title, Description: doc.Info.Description, Version: doc.Info.Version}
	for _, scheme := range doc.Components.SecuritySchemes {
		ref.Login = scheme.Description
	}
	for _, tag := range doc.Tags {
		ref.Sections = append(ref.Sections, section{tag.Name, tag.Description, doc.operations(tag.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		ref.Schemas = append(ref.Schemas, namedSchema{name, doc.Components.Schemas[name]})
	}
	return ref, nil
}

// operations returns the operations of a tag, sorted, with resolved responses.
func (d *document) operations(tag string) []operation {
	var ops []operation
	for path, item := range d.Paths {
		for method, op := range item {
			if !slices.Contains(op.Tags, tag) {
				continue
			}
			op.Method, op.Path = strings.ToUpper(method), path
			for status, r := range op.Responses {
				if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
					op.Responses[status] = d.Components.Responses[name]
				}
			}
			ops = append(ops, op)
		}
	}
	slices.SortFunc(ops, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return ops
}

// Guarded reports whether the operation requires a token.
func (o operation) Guarded() bool { return len(o.Security) > 0 }

// Name returns the name of the component that the schema or its items refer to,
// or "".
func (s *schema) Name() string {
	if s.Items != nil {
		return s.Items.Name()
	}
	return strings.TrimPrefix(s.Ref, "#/components/schemas/")
}

// Kind returns the type in words, such as "string (email)" or "array of
// string".
func (s *schema) Kind() string {
	switch {
	case s.Ref != "":
		return s.Name()
	case s.Items != nil:
		return "array of " + s.Items.Kind()
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	}
	return s.Type
}

// Rules returns the other constraints of the schema, such as "1 to 1000" or
// "one of a, b".
func (s *schema) Rules() []string {
	var rules []string
	add := func(format string, args ...any) { rules = append(rules, fmt.Sprintf(format, args...)) }
	between := func(low, high *int, unit string) {
		switch {
		case low != nil && high != nil:
			add("%d to %d%s", *low, *high, unit)
		case low != nil:
			add("at least %d%s", *low, unit)
		case high != nil:
			add("at most %d%s", *high, unit)
		}
	}
	between(s.Minimum, s.Maximum, "")
	between(s.MinLength, s.MaxLength, " characters")
	if s.Const != nil {
		add("always %v", s.Const)
	}
	if len(s.Enum) > 0 {
		names := make([]string, len(s.Enum))
		for i, value := range s.Enum {
			names[i] = fmt.Sprint(value)
		}
		add("one of %s", strings.Join(names, ", "))
	}
	if s.Items != nil {
		rules = append(rules, s.Items.Rules()...)
	}
	if s.Default != nil {
		add("default %v", s.Default)
	}
	return rules
}

// A field is a property of a schema, for a row of a table.
type field struct {
	Name     string
	Required bool
	*schema
}

// Fields returns the properties of the schema, the required ones first.
// Properties of nested objects follow their object.
func (s *schema) Fields() []field {
	names := slices.Clone(s.Required)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(s.Required, name) {
			names = append(names, name)
		}
	}
	var fields []field
	for i, name := range names {
		property := s.Properties[name]
		fields = append(fields, field{name, i < len(s.Required), property})
		if property.Items != nil {
			for _, inner := range property.Items.Fields() {
				inner.Name = name + "[]." + inner.Name
				fields = append(fields, inner)
			}
		}
	}
	return fields
}

// Inline returns the fields of an object, or of an array of objects, that is
// defined inline and not as a component.
func (s *schema) Inline() []field {
	if s.Items != nil {
		return s.Items.Fields()
	}
	return s.Fields()
}

var (
	codeMarks = regexp.MustCompile("`([^`]+)`")
	boldMarks = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// phrase renders the Markdown of the descriptions, which is only code and bold.
// It escapes all other text.
func phrase(text string) template.HTML {
	html := template.HTMLEscapeString(text)
	html = codeMarks.ReplaceAllString(html, "<code>$1</code>")
	html = boldMarks.ReplaceAllString(html, "<strong>$1</strong>")
	return template.HTML(html)
}

// prose renders a text of paragraphs.
func prose(text string) template.HTML {
	var html template.HTML
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		html += "<p>" + phrase(paragraph) + "</p>"
	}
	return html
}

// prettyJSON renders an example.
func prettyJSON(example any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the template escapes
	enc.SetIndent("", "  ")
	err := enc.Encode(example)
	return b.String(), err
}
