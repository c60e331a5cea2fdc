package contract_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/contract/internal/vulnerable"
)

// A test of a service runs every attack that applies to it.
func ExampleRun() {
	// In a test file of a service, this is a function TestContract.
	testContract := func(t *testing.T) {
		contract.Run(t, contract.Target{
			Handler: vulnerable.New(""), // the handler of the service
			User:    contract.Account{Name: "user@example.com", Password: "Password of the User 1"},
			Routes: []contract.Route{
				{Method: "GET", Path: "/me", Access: contract.LoggedIn},
			},
		})
	}
	_ = testContract
}

// A program attacks a service, and writes a report that people can read.
func ExampleCheck() {
	report, err := contract.Check(context.Background(), contract.Target{
		Handler: vulnerable.New("expired"),
		Secret:  nil, // with the secret, more attacks apply
		User:    contract.Account{Name: "user@example.com", Password: "Password of the User 1"},
		Routes:  []contract.Route{{Method: "GET", Path: "/me", Access: contract.LoggedIn}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	if report.Worst() >= contract.High {
		fmt.Println("do not deploy this")
	}
	fmt.Println(report.Count(contract.Succeeded), "attacks succeeded")
	// Output: 0 attacks succeeded
}
