package account

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:embed templates
var embedded embed.FS

// DefaultTemplates returns the files that [Config].Templates can replace:
//   - page.html is the layout of all pages, an html/template. It has no script.
//     Every text comes from the data, which the file itself shows.
//   - mail.html is the layout of all mails, an html/template.
//   - style.css is the style of the pages. No other style is loaded.
//   - texts.en.json has the texts of mails and pages in English. Texts of mails
//     are each a text/template with .Service, .Email, .Name, .Link, .Code and
//     .Factor. A paragraph that is only the link becomes a link in HTML. The
//     label "factor_otp" is the name of the second factor "otp"; each further
//     method can have one.
func DefaultTemplates() fs.FS {
	files, err := fs.Sub(embedded, "templates")
	if err != nil {
		return embedded // the path is a constant
	}
	return files
}

const (
	defaultLanguage  = "en"
	maxLanguageBytes = 128
)

// texts are all templates.
type texts struct {
	page, mailPage *htmltemplate.Template
	style          string
	languages      map[string]*language
}

// A language is the content of one file.
type language struct {
	Mails  map[string]*mailText `json:"mails"`
	Pages  map[string]pageText  `json:"pages"`
	Labels map[string]string    `json:"labels"`
	Errors map[string]string    `json:"errors"`
}

// A pageText is a page in a language: the form, and the page after it.
type pageText struct {
	Title  string `json:"title"`
	Intro  string `json:"intro,omitempty"`
	Submit string `json:"submit,omitempty"`
	Done   string `json:"done,omitempty"`
}

// loadTexts reads the templates, each from the files given or else from those
// embedded.
func loadTexts(custom fs.FS) (*texts, error) {
	own := DefaultTemplates()
	read := func(name string) ([]byte, error) {
		if custom != nil {
			text, err := fs.ReadFile(custom, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return text, err
			}
		}
		return fs.ReadFile(own, name)
	}
	t := &texts{languages: map[string]*language{}}
	for name, layout := range map[string]**htmltemplate.Template{"page.html": &t.page, "mail.html": &t.mailPage} {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		if *layout, err = htmltemplate.New(name).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	style, err := read("style.css")
	if err != nil {
		return nil, err
	}
	t.style = string(style)
	names := []string{"texts." + defaultLanguage + ".json"}
	if custom != nil {
		more, err := fs.Glob(custom, "texts.*.json")
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	for _, name := range names {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		l := new(language)
		if err := json.Unmarshal(text, l); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		tag := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "texts."), ".json"))
		t.languages[tag] = l
	}
	return t, t.check()
}

// check compiles the mails. Every language needs the texts that English has.
func (t *texts) check() error {
	english := t.languages[defaultLanguage]
	for _, tag := range slices.Sorted(maps.Keys(t.languages)) {
		l := t.languages[tag]
		for name := range english.Mails {
			m := l.Mails[name]
			if m == nil {
				return fmt.Errorf("texts.%s.json: lacks the mail %q", tag, name)
			}
			if err := m.compile(); err != nil {
				return fmt.Errorf("texts.%s.json: the mail %q: %w", tag, name, err)
			}
		}
		for what, pair := range map[string][2]map[string]string{
			"label": {english.Labels, l.Labels}, "error": {english.Errors, l.Errors}, "page": {titles(english.Pages), titles(l.Pages)},
		} {
			for name := range pair[0] {
				if pair[1][name] == "" {
					return fmt.Errorf("texts.%s.json: lacks the %s %q", tag, what, name)
				}
			}
		}
	}
	return nil
}

func titles(pages map[string]pageText) map[string]string {
	list := map[string]string{}
	for name, p := range pages {
		list[name] = p.Title
	}
	return list
}

// mail renders a mail.
func (t *texts) mail(name, accepted, service string, d mailData) (Message, error) {
	tag := t.pick(accepted)
	d.Service = service
	m, err := t.languages[tag].Mails[name].render(t.mailPage, tag, d)
	if err != nil {
		return Message{}, fmt.Errorf("account: the mail %q: %w", name, err)
	}
	return m, nil
}

// pick returns the first language of an Accept-Language header that there is.
func (t *texts) pick(accepted string) string {
	for tag := range strings.SplitSeq(accepted, ",") {
		tag, _, _ = strings.Cut(tag, ";")
		tag = strings.ToLower(strings.TrimSpace(tag))
		primary, _, _ := strings.Cut(tag, "-")
		for _, tag := range []string{tag, primary} {
			if t.languages[tag] != nil {
				return tag
			}
		}
	}
	return defaultLanguage
}

type languageKey struct{}

// WithLanguage returns a context that chooses the language of mails, by a
// language tag such as "de" or the value of an Accept-Language header. The
// pages of [Accounts.Mount] call it.
func WithLanguage(ctx context.Context, accepted string) context.Context {
	return context.WithValue(ctx, languageKey{}, accepted[:min(len(accepted), maxLanguageBytes)])
}

func languageOf(ctx context.Context) string {
	accepted, _ := ctx.Value(languageKey{}).(string)
	return accepted
}
