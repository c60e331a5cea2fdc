package harness

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Section is the part of the report for a group: its table and its lines of
// the summary.
type Section struct {
	Name     string     `json:"name"`
	Work     string     `json:"work"`
	Head     []string   `json:"-"`
	Rows     [][]string `json:"-"`
	Notes    []string   `json:"notes,omitempty"`
	Measured []Measured `json:"measured,omitempty"`
	Verdicts []Verdict  `json:"verdicts,omitempty"`
	Details  any        `json:"details,omitempty"` // results of a group other than times per operation
}

// NewSection tabulates the results, fastest first. Ratios are relative to the
// first contender of the group.
func NewSection(g Group, measured []Measured) (Section, error) {
	verdicts, err := Judge(g, measured)
	if err != nil {
		return Section{}, err
	}
	s := Section{
		Name: g.Name, Work: g.Work, Measured: measured, Verdicts: verdicts,
		Head: []string{"contender", "time", "× " + measured[0].Name, "spread", "allocs", "bytes"},
	}
	first := measured[0]
	byTime := slices.SortedStableFunc(slices.Values(measured), func(a, b Measured) int { return cmp.Compare(a.Median, b.Median) })
	for _, m := range byTime {
		s.Rows = append(s.Rows, []string{
			m.Name, Nanoseconds(m.Median), Ratio(m.Median / first.Median), percent(m.spread()),
			strconv.FormatFloat(m.Allocs, 'f', -1, 64), strconv.FormatFloat(m.Bytes, 'f', 0, 64),
		})
		if m.Note != "" {
			s.Notes = append(s.Notes, m.Name+": "+m.Note)
		}
	}
	return s, nil
}

// WriteTo writes the section as Markdown.
func (s Section) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.Name, s.Work)
	table(&b, s.Head, s.Rows)
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	if len(s.Notes) > 0 {
		b.WriteByte('\n')
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// WriteSummary writes the verdicts of all sections as one Markdown table.
func WriteSummary(w io.Writer, sections []Section) error {
	var rows [][]string
	for _, s := range sections {
		for _, v := range s.Verdicts {
			target, counted, allocs, met := "", "", "", ""
			if v.Allocs >= 0 {
				counted = strconv.FormatFloat(v.Allocs, 'f', -1, 64)
			}
			if v.Max > 0 {
				target = "≤ " + strconv.FormatFloat(v.Max, 'f', -1, 64)
				met = "yes"
				if !v.Met {
					met = "**no**"
				}
			}
			if v.MaxAllocs > 0 {
				allocs = "≤ " + strconv.FormatFloat(v.MaxAllocs, 'f', -1, 64)
			}
			rows = append(rows, []string{
				v.What, v.Ours, Nanoseconds(v.OursNs), v.Against, Nanoseconds(v.AgainstNs), Ratio(v.Ratio), target, percent(v.Spread),
				counted, allocs, met,
			})
		}
	}
	var b strings.Builder
	b.WriteString("## Summary: authkit against the best peer, or against the bare work\n\n")
	table(&b, []string{"what", "authkit", "time", "against", "time", "ratio", "target", "spread", "allocs", "target", "met?"}, rows)
	_, err := io.WriteString(w, b.String())
	return err
}

func table(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) {
		b.WriteString("| ")
		b.WriteString(strings.Join(cells, " | "))
		b.WriteString(" |\n")
	}
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, r := range rows {
		line(r)
	}
	b.WriteByte('\n')
}

// Nanoseconds formats a time for people: three digits and a unit.
func Nanoseconds(ns float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
		if ns >= u.size {
			return digits(ns/u.size) + " " + u.name
		}
	}
	return digits(ns) + " ns"
}

// Ratio formats a ratio for people.
func Ratio(r float64) string {
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return "–"
	}
	if r < 10 {
		return strconv.FormatFloat(r, 'f', 2, 64)
	}
	return digits(r)
}

// digits formats v with three significant digits and no exponent.
func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func percent(f float64) string {
	if f == 0 {
		return "–"
	}
	return "± " + strconv.FormatFloat(f*100, 'f', 0, 64) + " %"
}
