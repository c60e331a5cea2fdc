package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// A table writes rows: separated by tabs, with a line of names, or as JSON.
type table struct {
	w       io.Writer
	json    bool
	columns []string
}

func (c *call) table(columns ...string) (*table, error) {
	t := &table{c.stdout, c.json, columns}
	if t.json {
		return t, nil
	}
	_, err := fmt.Fprintln(t.w, strings.Join(columns, "\t"))
	return t, err
}

// row writes a value for each column.
func (t *table) row(values ...any) error {
	if !t.json {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = cell(v)
		}
		_, err := fmt.Fprintln(t.w, strings.Join(texts, "\t"))
		return err
	}
	var b bytes.Buffer
	for i, v := range values {
		name, err := encode(t.columns[i])
		if err != nil {
			return err
		}
		value, err := encode(v)
		if err != nil {
			return err
		}
		if i == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteString("}\n")
	_, err := t.w.Write(b.Bytes())
	return err
}

// encode returns JSON without HTML escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// cell returns a value as text on one line.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case []string:
		return printable(strings.Join(v, ","))
	}
	return printable(fmt.Sprint(v))
}

// printable returns a text without characters that could control a terminal.
// Clients choose some texts, such as the name of a device.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return ' '
	}, s)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A progress shows the progress of a long command: a bar on a terminal, or a
// line every few seconds.
type progress struct {
	w     io.Writer
	bar   bool
	total int
	what  string
	shown time.Time
}

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30
)

func (c *call) progress(what string, total int) *progress {
	return &progress{w: c.stderr, bar: isTerminal(c.stderr), total: total, what: what, shown: time.Now()}
}

// at shows the number of finished items, if an update is due.
func (p *progress) at(done int) {
	every := lineEvery
	if p.bar {
		every = barEvery
	}
	if at := time.Now(); done < p.total && at.Sub(p.shown) >= every {
		p.shown = at
		p.show(done, "")
	}
}

// end shows the final number.
func (p *progress) end(done int) { p.show(done, "\n") }

func (p *progress) show(done int, end string) {
	percent := 100
	if p.total > 0 {
		percent = min(100, done*100/p.total)
	}
	if !p.bar {
		fmt.Fprintf(p.w, "%d of %d %s (%d %%)\n", done, p.total, p.what, percent)
		return
	}
	full := barWidth * percent / 100
	fmt.Fprintf(p.w, "\r[%s%s] %3d %%  %d of %d %s%s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		percent, done, p.total, p.what, end)
}
