package account

import (
	"context"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log/slog"
	"strings"
	"text/template"
	"unicode"
)

// ErrMailRejected is returned by a [Mailer] for a message that can never be
// delivered, such as one to an address that does not exist.
var ErrMailRejected = errors.New("account: mail rejected")

// A Message is one e-mail to one user.
type Message struct {
	// To is the address of the user, without a name, in the form of
	// [authkit.NormalizeEmail].
	To string `json:"to"`

	// Subject is the subject, as plain text in one line.
	Subject string `json:"subject"`

	// Text is the message as plain text. It is required.
	Text string `json:"text"`

	// HTML is the same message as HTML. If empty, the mail has plain text only.
	HTML string `json:"html"`
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a message does not reveal its link.
func (Message) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("account.Message{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (m Message) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

// A Mailer sends messages. Package smtpmail implements it. It must be safe for
// concurrent use.
type Mailer interface {
	// Send sends a message. If it returns nil, the message will be delivered or
	// bounce. If the error is ErrMailRejected, another call would fail as well.
	// After any other error the caller may try again; the user may then get the
	// message twice. Send ends when ctx is done.
	Send(ctx context.Context, m Message) error
}

var errMail = fmt.Errorf("%w: its address or subject is not one line", ErrMailRejected)

// check refuses texts that could add a header to a mail.
func (m *Message) check() error {
	if strings.ContainsFunc(m.To+m.Subject, unicode.IsControl) {
		return errMail
	}
	return nil
}

// mailData is the data of the texts of a mail.
type mailData struct {
	Service string
	Email   string // the address that the mail goes to
	Name    string // of the user, one line of at most 128 characters; may be empty
	Link    string // empty for a mail without one
	Code    string
	Factor  string // the second factor of a notice, such as "an authenticator app"
}

// A mailText is a mail in a language.
type mailText struct {
	Subject string   `json:"subject"`
	Text    []string `json:"text"` // its paragraphs

	paragraphs []*template.Template
	subject    *template.Template
}

// A paragraph is one of a mail in HTML.
type paragraph struct {
	Text   string
	IsLink bool
}

// compile parses the texts.
func (m *mailText) compile() error {
	parse := func(text string) (*template.Template, error) {
		t, err := template.New("").Option("missingkey=error").Parse(text)
		if err != nil {
			return nil, err
		}
		return t, t.Execute(new(strings.Builder), mailData{}) // finds names that there are not
	}
	if m.Subject == "" || len(m.Text) == 0 {
		return errors.New("has no subject or no text")
	}
	var err error
	if m.subject, err = parse(m.Subject); err != nil {
		return err
	}
	for _, text := range m.Text {
		p, err := parse(text)
		if err != nil {
			return err
		}
		m.paragraphs = append(m.paragraphs, p)
	}
	return nil
}

// render returns the mail. The subject has no name in it that a user chose
// (RG-24).
func (m *mailText) render(layout *htmltemplate.Template, language string, d mailData) (Message, error) {
	d.Name = displayName(d.Name)
	nameless := d
	nameless.Name = ""
	subject, err := execute(m.subject, nameless)
	if err != nil {
		return Message{}, err
	}
	texts := make([]string, len(m.paragraphs))
	list := make([]paragraph, len(m.paragraphs))
	for i, p := range m.paragraphs {
		if texts[i], err = execute(p, d); err != nil {
			return Message{}, err
		}
		list[i] = paragraph{texts[i], d.Link != "" && texts[i] == d.Link}
	}
	var html strings.Builder
	err = layout.Execute(&html, map[string]any{"Language": language, "Subject": subject, "Service": d.Service, "Paragraphs": list})
	if err != nil {
		return Message{}, err
	}
	return Message{To: d.Email, Subject: subject, Text: strings.Join(texts, "\n\n") + "\n", HTML: html.String()}, nil
}

func execute(t *template.Template, d mailData) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, d)
	return b.String(), err
}
