// Command cluster runs three instances of the demo on one Postgres and one
// Redis, and a small proxy that distributes requests in turn. It shows that any
// request may go to any instance, that the instances count guesses together,
// and that the others continue when one is killed. Then it serves until it is
// interrupted.
//
//	go run ./examples/cluster
//
// Postgres and Redis must be running. The flags -db and -redis set their
// addresses. With -db sqlite:FILE -redis "" neither is needed: the instances
// share a file, and each counts guesses separately.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// options are the values of the flags.
type options struct {
	addr, db, redis string
	once            bool
	cost            string   // of bcrypt; lower in tests
	env             []string // of the instances, for tests
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:8000", "`address` of the proxy")
	flag.StringVar(&o.db, "db", cmp.Or(os.Getenv("DATABASE_URL"), "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"), "`database` of the demo (DATABASE_URL)")
	flag.StringVar(&o.redis, "redis", "redis://127.0.0.1:6379/9", "`address` of Redis; empty: none")
	flag.BoolVar(&o.once, "once", false, "stop after the walk-through")
	flag.StringVar(&o.cost, "cost", "12", "bcrypt `cost` of the instances")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run starts the instances, shows the steps, and stops the instances.
func run(ctx context.Context, out io.Writer, o options) error {
	instances, stop, err := startAll(ctx, out, o)
	if err != nil {
		return err
	}
	defer stop()
	proxy, stopProxy, err := serveProxy(o.addr, instances)
	if err != nil {
		return err
	}
	defer stopProxy()
	fmt.Fprintf(out, "proxy       %s  hands requests out in turn\n\n", proxy)

	w := walker{out: out, instances: instances, proxy: proxy, oneLimit: o.redis != ""}
	if err := w.through(ctx); err != nil || o.once {
		return err
	}
	fmt.Fprintf(out, "\nA and C go on serving until you press ctrl-c: %s/docs\n", proxy)
	<-ctx.Done()
	return nil
}

// startAll starts three instances. It returns them and a function that stops
// them.
func startAll(ctx context.Context, out io.Writer, o options) (instances []*instance, stop func(), err error) {
	fmt.Fprintln(out, "building the demo ...")
	binary, remove, err := build(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		for _, i := range instances {
			i.stop()
		}
		remove()
	}
	// The secret is shared, so each instance accepts the tokens of the others.
	// The proxy tells the instances the addresses of the clients.
	env := append([]string{"SECRET_KEY=" + rand.Text() + rand.Text(), "TRUSTED_PROXIES=127.0.0.1/32",
		"DATABASE_URL=" + o.db, "REDIS_URL=" + o.redis, "BCRYPT_COST=" + o.cost}, o.env...)
	for name := 'A'; name <= 'C'; name++ {
		i, err := start(ctx, binary, env)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("instance %c: %w", name, err)
		}
		instances = append(instances, i)
		fmt.Fprintf(out, "instance %c  %s  pid %d\n", name, i.url, i.pid())
	}
	return instances, stop, nil
}
