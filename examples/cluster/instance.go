package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
)

// build compiles the demo. It returns the program and a function that removes
// it.
func build(ctx context.Context) (binary string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "authkit-cluster-")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "demo")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/authkit-go/authkit/examples/demo").CombinedOutput()
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, fmt.Errorf("building the demo: %w\n%s", err, out)
	}
	return binary, func() { _ = os.RemoveAll(dir) }, nil
}

// An instance is a running demo.
type instance struct {
	url     string
	command *exec.Cmd
	log     bytes.Buffer // read after it has ended
	done    chan struct{}
}

var address = regexp.MustCompile(`https?://[0-9.:\[\]a-f]+`)

// start starts an instance on a free port, and waits until it listens.
func start(ctx context.Context, binary string, env []string) (*instance, error) {
	i := &instance{command: exec.CommandContext(ctx, binary, "-addr", "127.0.0.1:0"), done: make(chan struct{})}
	i.command.Cancel = func() error { return i.command.Process.Signal(syscall.SIGTERM) } // SIGTERM, so that it finishes its requests
	i.command.Dir, i.command.Env, i.command.Stderr = filepath.Dir(binary), append(os.Environ(), env...), &i.log
	stdout, err := i.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := i.command.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	for i.url == "" && lines.Scan() {
		i.url = address.FindString(lines.Text())
	}
	go func() {
		defer close(i.done)
		_, _ = io.Copy(io.Discard, stdout) // the rest of its greeting
		_ = i.command.Wait()
	}()
	if i.url == "" {
		<-i.done
		return nil, errors.New("it ended at once: " + i.log.String())
	}
	return i, nil
}

func (i *instance) pid() int { return i.command.Process.Pid }

// stop lets the instance finish its requests.
func (i *instance) stop() {
	_ = i.command.Process.Signal(syscall.SIGTERM)
	<-i.done
}

// kill ends the instance like a crash.
func (i *instance) kill() {
	_ = i.command.Process.Kill()
	<-i.done
}
