package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

const maxSecret = 4096 // bytes of a password or a key that are read

// password reads a password without echo from a terminal, twice if it is new,
// or from standard input.
func (c *call) password(ctx context.Context) (string, error) {
	if !isTerminal(c.stdin) {
		text, err := io.ReadAll(io.LimitReader(c.stdin, maxSecret+1))
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return onePassword(text)
	}
	first, err := c.ask(ctx, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := c.ask(ctx, "Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the passwords differ; try again")
	}
	return first, nil
}

// onePassword removes the line end of a password.
func onePassword(text []byte) (string, error) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case len(text) == 0:
		return "", errors.New("no password on standard input; write it there, as one line")
	case len(text) >= maxSecret:
		return "", fmt.Errorf("more than %d bytes on standard input; write the password there, and nothing else", maxSecret)
	case bytes.ContainsAny(text, "\r\n"):
		return "", errors.New("more than one line on standard input; write the password there, and nothing else")
	}
	return string(text), nil
}

// ask reads a secret from the terminal. An interrupt restores the terminal.
func (c *call) ask(ctx context.Context, prompt string) (string, error) {
	fd := int(c.stdin.(*os.File).Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	fmt.Fprint(c.stderr, prompt)
	defer fmt.Fprintln(c.stderr)
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		typed <- answer{text, err}
	}()
	select {
	case <-ctx.Done(): // the process ends soon, and the reader with it
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	case a := <-typed:
		if a.err != nil {
			return "", fmt.Errorf("reading the password: %w", a.err)
		}
		if len(a.text) == 0 {
			return "", errors.New("no password was typed")
		}
		return string(a.text), nil
	}
}

// readSecretFile returns the contents of a file without the line end.
func readSecretFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = fmt.Errorf("%s has more than %d bytes", file, maxSecret)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")), err
}
