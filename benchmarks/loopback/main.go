// Command loopback serves one small route over HTTP, behind one of the measured
// guards or none, for a load generator on the same machine. It prints a line
// with the address and the header to send, separated by a tab.
//
//	go run ./loopback -guard authkit
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

func main() {
	log.SetFlags(0)
	name := flag.String("guard", "none", "which guard stands before the route; none for none, list for a list")
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	if err := serve(*name, *addr); err != nil {
		log.Fatal(err)
	}
}

func serve(name, addr string) error {
	keys, err := peers.NewKeys()
	if err != nil {
		return err
	}
	guards, err := peers.Guards(keys)
	if err != nil {
		return err
	}
	if name == "list" {
		for _, g := range guards {
			fmt.Printf("%s\t%s\n", g.Slug, g.Name)
		}
		return nil
	}
	guard := peers.Guard{Slug: "none", Handler: peers.Unguarded(), Header: "Authorization", Prefix: "Bearer "}
	if name == "none" {
		// The request has the same length with and without a guard.
		if guard.Tokens, err = peers.NewTokens(peers.HS256, keys, nil); err != nil {
			return err
		}
	} else {
		i := slices.IndexFunc(guards, func(g peers.Guard) bool { return g.Slug == name })
		if i < 0 {
			return fmt.Errorf("no guard %q: see -guard list", name)
		}
		guard = guards[i]
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	header := guard.Header + ": " + strings.TrimSpace(guard.Prefix+guard.Tokens.Good)
	fmt.Fprintf(os.Stdout, "http://%s/hello\t%s\n", listener.Addr(), header)
	server := &http.Server{Handler: guard.Handler, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}
