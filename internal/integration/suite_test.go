package integration_test

import (
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// ST-01, ST-02, ST-03, ST-07: the suite that MemoryStore passes, races included.
func TestUserStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestUserStore(t, func(t *testing.T) authkit.UserStore { return storeWith(t, d) })
	})
}

// RF-01, RF-03, RF-08: likewise.
func TestSessionStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestSessionStore(t, func(t *testing.T) authkit.SessionStore { return storeWith(t, d) })
	})
}

// AU-06: likewise.
func TestAuditStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestAuditStore(t, func(t *testing.T) audit.Store { return auditsql.New(storeWith(t, d, auditsql.Migrations())) })
	})
}

// RG-23: likewise.
func TestAccountStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestAccountStore(t, func(t *testing.T) account.Store { return accountsql.New(storeWith(t, d, accountsql.Migrations())) })
	})
}

// AK-10: likewise, with two rotations of a key at once.
func TestAPIKeyStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestAPIKeyStore(t, func(t *testing.T) apikey.Store { return apikeysql.New(storeWith(t, d, apikeysql.Migrations())) })
	})
}

// MF-16: likewise.
func TestTrustedDeviceStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestTrustedDeviceStore(t, func(t *testing.T) trusteddevice.Store {
			return trusteddevicesql.New(storeWith(t, d, trusteddevicesql.Migrations()))
		})
	})
}

// MF-02, MF-08: likewise.
func TestTOTPStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestTOTPStore(t, func(t *testing.T) totp.Store { return totpsql.New(storeWith(t, d, totpsql.Migrations())) })
	})
}

// OR-05: likewise, with several changes of an organization at once.
func TestOrgStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestOrgStore(t, func(t *testing.T) org.Store { return orgsql.New(storeWith(t, d, orgsql.Migrations())) })
	})
}

// ST-03: likewise.
func TestTicketStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestTicketStore(t, func(t *testing.T) authkit.TicketStore { return storeWith(t, d) })
	})
}

// What several calls change is one change: likewise.
func TestTransactor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestTransactor(t, func(t *testing.T) storetest.TransactorStore { return storeWith(t, d) })
	})
}

// ST-03: likewise.
func TestUserBatchStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		storetest.TestUserBatchStore(t, func(t *testing.T) storetest.BatchStore { return storeWith(t, d) })
	})
}
