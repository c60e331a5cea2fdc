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

const maxSecret = 4096 // bytes of a password or a key, as it is read

// password asks for a password on a terminal, twice if it is a new one, without
// showing it; or reads it from standard input.
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
		return "", errors.New("the two are not the same; try again")
	}
	return first, nil
}

// onePassword takes the line end from a password that was read.
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

// ask asks for a secret on the terminal. Whoever interrupts it gets the
// terminal back as it was.
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
	case <-ctx.Done(): // the process is about to end, and the reader with it
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

// readSecretFile returns what a file holds, but for a line end.
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
