package main

import (
	_ "embed"
	"io"
	"net"
	"text/template"
)

// The text that the demo prints at start. Its passwords are documentation: the
// program has only the hashes of the accounts.
//
//go:embed greeting.txt
var greeting string

// greet prints the address of the server and suggested requests.
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
