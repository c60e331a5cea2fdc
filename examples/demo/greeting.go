package main

import (
	_ "embed"
	"io"
	"net"
	"text/template"
)

// What the demo says of itself at start. The passwords in it are documentation:
// the program knows the accounts by their hashes alone.
//
//go:embed greeting.txt
var greeting string

// greet prints where the server listens and what to try.
func greet(w io.Writer, cfg config, addr net.Addr) error {
	tmpl, err := template.New("greeting").Parse(greeting)
	if err != nil {
		return err
	}
	scheme := "http://"
	if cfg.certFile != "" {
		scheme = "https://"
	}
	url, socket, curl := scheme+addr.String(), "", "curl"
	if addr.Network() == "unix" {
		url, socket, curl = scheme+"localhost", addr.String(), "curl --unix-socket "+addr.String()
	}
	return tmpl.Execute(w, struct{ URL, Socket, Curl, UsersFile string }{url, socket, curl, cfg.usersFile})
}
