package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// readDotenv reads the assignments of a .env file. Each line has the form
// NAME=value, with an optional "export" before it and optional quotes around
// the value. Comments have separate lines. A byte order mark at the start is
// skipped. A missing file counts as empty. Errors give the line number but not
// the line, which may contain the secret.
func readDotenv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%s: line %d is not NAME=value", path, number)
		}
		if quote := value[:min(1, len(value))]; quote == `"` || quote == `'` {
			value, ok = strings.CutSuffix(value[1:], quote)
			if !ok {
				return nil, fmt.Errorf("%s: line %d: the quotes do not close", path, number)
			}
		}
		values[name] = value
	}
	return values, nil
}
