package layout_test

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Limits of the prose of one package or page.
const (
	maxHeadless     = 1  // matches of headless in 1,000 words; a shorter text may have one
	maxMeanSentence = 20 // words
)

// headless matches the words that make a reader go back in a sentence, because
// they stand where a noun should.
var headless = regexp.MustCompile(`(?i)\b(?:what|whoever|whom|nobody|somebody|anybody|of its own|by itself)\b`)

// prose is the measure of a text.
type prose struct{ headless, words, sentences int }

// add adds the measure of a plain text: paragraphs, and lists whose items start
// with a dash.
func (p *prose) add(text string) {
	for _, paragraph := range paragraphs(text) {
		p.headless += len(headless.FindAllString(paragraph, -1))
		for _, sentence := range sentenceEnd.Split(paragraph, -1) {
			if n := len(strings.Fields(sentence)); n > 0 {
				p.words += n
				p.sentences++
			}
		}
	}
}

// mean returns the words of a sentence on average.
func (p prose) mean() float64 { return float64(p.words) / float64(max(p.sentences, 1)) }

func (p prose) String() string {
	return fmt.Sprintf("%6d words  %3d headless (%4.1f per 1,000)  %4.1f words a sentence",
		p.words, p.headless, 1000*float64(p.headless)/float64(max(p.words, 1)), p.mean())
}

// within reports whether a text keeps the limits.
func (p prose) within() bool {
	return p.headless <= max(1, maxHeadless*p.words/1000) && p.mean() <= maxMeanSentence
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?]["')*_]*(?:\s+|$)`)
	listItem    = regexp.MustCompile(`^(?:[-*] |\d+\. |#+ )`)
	codeSpan    = regexp.MustCompile("`[^`\n]*`")
)

// paragraphs splits a text at blank lines, before list items and after
// headings, and leaves out indented code.
func paragraphs(text string) (all []string) {
	var lines []string
	flush := func() {
		all = append(all, strings.Join(lines, " "))
		lines = nil
	}
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(line, "\t"):
			flush()
			continue
		}
		marker := listItem.FindString(trimmed)
		if marker != "" {
			flush()
		}
		lines = append(lines, trimmed[len(marker):])
		if strings.HasPrefix(marker, "#") {
			flush()
		}
	}
	flush()
	return slices.DeleteFunc(all, func(p string) bool { return p == "" })
}

// comments measures the comments of a file.
func comments(f source) (p prose) {
	for _, group := range f.Comments {
		p.add(commentText(group))
	}
	return p
}

// commentText returns the text of a comment, without directives and expected
// output.
func commentText(group *ast.CommentGroup) string {
	text := group.Text()
	if before, _, found := strings.Cut(text, "Output:\n"); found {
		return before
	}
	return text
}

// page measures a page of Markdown: its prose and the cells of its tables, with
// each code span as one word, and without code blocks.
func page(text string) (p prose) {
	var plain strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			plain.WriteString("\n")
			continue
		}
		if code {
			continue
		}
		line = codeSpan.ReplaceAllString(line, "code")
		if strings.HasPrefix(line, "|") {
			for cell := range strings.SplitSeq(line, "|") {
				if strings.Trim(cell, "-: \n") != "" {
					plain.WriteString("\n\n" + strings.TrimSpace(cell))
				}
			}
			plain.WriteString("\n\n")
			continue
		}
		plain.WriteString(strings.TrimLeft(line, " \t"))
		if line == "" {
			plain.WriteString("\n")
		}
	}
	p.add(plain.String())
	return p
}

// measure returns the prose of a tree: of the comments of each package, with
// those of its tests apart, and of each page.
func measure(t *tree, fsys fs.FS) (packages, tests, pages map[string]prose, err error) {
	packages, tests, pages = map[string]prose{}, map[string]prose{}, map[string]prose{}
	for _, f := range t.files {
		into := packages
		if f.test {
			into = tests
		}
		sum, p := into[f.dir], comments(f)
		into[f.dir] = prose{sum.headless + p.headless, sum.words + p.words, sum.sentences + p.sentences}
	}
	for _, pattern := range []string{"*.md", "*/*.md"} {
		names, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, name := range names {
			if name == "CHANGELOG.md" { // a history, which is not rewritten
				continue
			}
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, nil, nil, err
			}
			pages[name] = page(string(text))
		}
	}
	return packages, tests, pages, nil
}

// TestLanguage holds the comments of each package and each page to sentences
// that are read once. With -v it prints the measures, those of tests too.
func TestLanguage(t *testing.T) {
	t.Parallel()
	fsys := os.DirFS(repository(t))
	tree, err := loadTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	packages, tests, pages, err := measure(tree, fsys)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 || len(pages) < 5 {
		t.Fatalf("%d packages and %d pages: the rule would hold of nothing", len(packages), len(pages))
	}
	for _, texts := range []map[string]prose{packages, pages} {
		for _, name := range sorted(texts) {
			got := texts[name]
			t.Logf("%-32s %s", name, got)
			if !got.within() {
				t.Errorf("%s: %s; the limits are %d in 1,000 words and %d words a sentence", name, got, maxHeadless, maxMeanSentence)
			}
		}
	}
	for _, name := range sorted(tests) {
		t.Logf("%-32s %s", path.Join(name, "*_test.go"), tests[name])
	}
}

func TestProse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		got, want prose
	}{
		"sentences":             {plain("One two. Three (four five)! Six"), prose{0, 6, 3}},
		"a wrapped sentence":    {plain("One two\nthree.\n\nFour"), prose{0, 4, 2}},
		"a colon and lists":     {plain("One:\n  - two\n  - three four"), prose{0, 4, 3}},
		"code":                  {plain("One:\n\n\tcode of what\n\nTwo"), prose{0, 2, 2}},
		"headless words":        {plain("What nobody has of its own, somewhat."), prose{3, 7, 1}},
		"a version":             {plain("Go 1.26 and RFC 7519, section 4.1.2, apply."), prose{0, 8, 1}},
		"a page":                {page("# Title here\nText `a b c` goes\non.\n\n```\nwhat code\n```\n- item one\n"), prose{0, 8, 3}},
		"a table":               {page("| a b | c |\n|---|---|\n| `d e` | f. g |\n"), prose{0, 6, 5}},
		"a code span is quoted": {page("The word `what` is code.\n"), prose{0, 5, 1}},
	}
	for name, tc := range cases {
		if tc.got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, tc.got, tc.want)
		}
	}
	for _, p := range []prose{{2, 1000, 100}, {2, 10, 1}, {0, 201, 10}} {
		if p.within() {
			t.Errorf("%+v keeps the limits", p)
		}
	}
	for _, p := range []prose{{1, 10, 1}, {2, 2000, 100}, {0, 200, 10}, {}} {
		if !p.within() {
			t.Errorf("%+v does not keep the limits", p)
		}
	}
}

func plain(text string) (p prose) {
	p.add(text)
	return p
}
