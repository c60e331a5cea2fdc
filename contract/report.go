package contract

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{"group": group}).Parse(reportHTML))

// group returns the part of an ID before the dot.
func group(id string) string {
	name, _, _ := strings.Cut(id, ".")
	return name
}

// WriteText writes the report as a table for a terminal: the attacks that
// succeeded or could not be carried out, the fields that others lack, and the totals.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for _, result := range r.sorted() {
		if result.Outcome == Withstood || result.Outcome == NotApplicable {
			continue
		}
		fmt.Fprintf(&b, "%-9s %-9s %-28s %s\n", result.Severity, result.Outcome, result.ID, result.Text)
		fmt.Fprintf(&b, "%49s%s (%s, %s)\n", "", result.Note, result.Requirement, result.Source)
	}
	lacks := map[string]int{}
	for _, result := range r.Results {
		if result.Outcome == NotApplicable {
			for note := range strings.SplitSeq(result.Note, "; ") {
				lacks[note]++
			}
		}
	}
	for _, note := range slices.Sorted(maps.Keys(lacks)) {
		fmt.Fprintf(&b, "%3d not applicable because %s\n", lacks[note], note)
	}
	fmt.Fprintf(&b, "%d attacks on %s: %d withstood, %d succeeded, %d not applicable, %d failed; %d requests\n",
		len(r.Results), r.Target, r.Count(Withstood), r.Count(Succeeded), r.Count(NotApplicable), r.Count(Failed), r.Requests)
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report as a JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	return reportPage.Execute(w, map[string]any{
		"Report": r, "Results": r.sorted(),
		"Withstood": r.Count(Withstood), "Succeeded": r.Count(Succeeded), "NotApplicable": r.Count(NotApplicable), "Failed": r.Count(Failed),
	})
}

// sorted returns the results, the worst first.
func (r *Report) sorted() []Result {
	rank := map[Outcome]int{Succeeded: 0, Failed: 1, Withstood: 2, NotApplicable: 3}
	return slices.SortedStableFunc(slices.Values(r.Results), func(a, b Result) int {
		if d := rank[a.Outcome] - rank[b.Outcome]; d != 0 {
			return d
		}
		if a.Outcome == Succeeded {
			return int(b.Severity) - int(a.Severity)
		}
		return 0
	})
}

// exchanges returns evidence as text.
func exchanges(all []Exchange) string {
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "\n> %s\n< %s\n", strings.ReplaceAll(strings.TrimSpace(e.Request), "\n", "\n> "), strings.ReplaceAll(strings.TrimSpace(e.Response), "\n", "\n< "))
	}
	return b.String()
}
