package flows_test

import (
	"context"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/storetest/faults"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/trusteddevice"
)

// one makes a call that returns only an error.
func one(ctx context.Context, in *faults.Injector, name string, call func(ctx context.Context) error) error {
	_, err := faults.Call(ctx, in, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// jobs is the store of the outbox, whose calls can fail.
type jobs struct {
	account.Store
	in *faults.Injector
}

func (w *jobs) PutJob(ctx context.Context, j account.Job) error {
	return one(ctx, w.in, "PutJob", func(ctx context.Context) error { return w.Store.PutJob(ctx, j) })
}

func (w *jobs) ClaimJob(ctx context.Context, at, until time.Time) (account.Job, error) {
	return faults.Call(ctx, w.in, "ClaimJob", func(ctx context.Context) (account.Job, error) { return w.Store.ClaimJob(ctx, at, until) })
}

func (w *jobs) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	return one(ctx, w.in, "PostponeJob", func(ctx context.Context) error { return w.Store.PostponeJob(ctx, id, attempts, due) })
}

func (w *jobs) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	return faults.Call(ctx, w.in, "DeleteJob", func(ctx context.Context) (bool, error) { return w.Store.DeleteJob(ctx, id, attempts) })
}

func (w *jobs) Times(ctx context.Context, key string) (times []time.Time, version int64, err error) {
	err = one(ctx, w.in, "Times", func(ctx context.Context) (err error) {
		times, version, err = w.Store.Times(ctx, key)
		return err
	})
	return times, version, err
}

func (w *jobs) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	return one(ctx, w.in, "SetTimes", func(ctx context.Context) error { return w.Store.SetTimes(ctx, key, times, version, expires) })
}

func (w *jobs) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (int, error) {
	return faults.Call(ctx, w.in, "DeleteExpiredJobs", func(ctx context.Context) (int, error) { return w.Store.DeleteExpiredJobs(ctx, at, limit) })
}

// apps is the store of authenticator apps, whose calls can fail.
type apps struct {
	totp.Store
	in *faults.Injector
}

func (w *apps) Record(ctx context.Context, userID string) (totp.Record, error) {
	return faults.Call(ctx, w.in, "Record", func(ctx context.Context) (totp.Record, error) { return w.Store.Record(ctx, userID) })
}

func (w *apps) SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error {
	return one(ctx, w.in, "SetPending", func(ctx context.Context) error { return w.Store.SetPending(ctx, userID, pending, at) })
}

func (w *apps) Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	return faults.Call(ctx, w.in, "Confirm", func(ctx context.Context) (bool, error) {
		return w.Store.Confirm(ctx, userID, pendingAt, secret, step, at)
	})
}

func (w *apps) CountAttempt(ctx context.Context, userID string, limits totp.Limits) (totp.Record, error) {
	return faults.Call(ctx, w.in, "CountAttempt", func(ctx context.Context) (totp.Record, error) { return w.Store.CountAttempt(ctx, userID, limits) })
}

func (w *apps) AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (bool, error) {
	return faults.Call(ctx, w.in, "AcceptStep", func(ctx context.Context) (bool, error) { return w.Store.AcceptStep(ctx, userID, enrolledAt, step) })
}

func (w *apps) DeleteFactor(ctx context.Context, userID string) error {
	return one(ctx, w.in, "DeleteFactor", func(ctx context.Context) error { return w.Store.DeleteFactor(ctx, userID) })
}

func (w *apps) SetCodes(ctx context.Context, userID string, hashes [][32]byte, at time.Time) error {
	return one(ctx, w.in, "SetCodes", func(ctx context.Context) error { return w.Store.SetCodes(ctx, userID, hashes, at) })
}

func (w *apps) UseCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	return faults.Call(ctx, w.in, "UseCode", func(ctx context.Context) (bool, error) { return w.Store.UseCode(ctx, userID, hash) })
}

func (w *apps) Records(ctx context.Context, after string, limit int) ([]totp.Record, error) {
	return faults.Call(ctx, w.in, "Records", func(ctx context.Context) ([]totp.Record, error) { return w.Store.Records(ctx, after, limit) })
}

func (w *apps) Reseal(ctx context.Context, changes []totp.Resealing) (int, error) {
	return faults.Call(ctx, w.in, "Reseal", func(ctx context.Context) (int, error) { return w.Store.Reseal(ctx, changes) })
}

// credentials is the store of passkeys, whose calls can fail.
type credentials struct {
	passkey.Store
	in *faults.Injector
}

func (w *credentials) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	return faults.Call(ctx, w.in, "UserHandle", func(ctx context.Context) ([]byte, error) { return w.Store.UserHandle(ctx, userID, proposed) })
}

func (w *credentials) AddPasskey(ctx context.Context, p passkey.Passkey, limit int) error {
	return one(ctx, w.in, "AddPasskey", func(ctx context.Context) error { return w.Store.AddPasskey(ctx, p, limit) })
}

func (w *credentials) PasskeyByID(ctx context.Context, id string) (passkey.Passkey, error) {
	return faults.Call(ctx, w.in, "PasskeyByID", func(ctx context.Context) (passkey.Passkey, error) { return w.Store.PasskeyByID(ctx, id) })
}

func (w *credentials) PasskeysByUser(ctx context.Context, userID string) ([]passkey.Passkey, error) {
	return faults.Call(ctx, w.in, "PasskeysByUser", func(ctx context.Context) ([]passkey.Passkey, error) { return w.Store.PasskeysByUser(ctx, userID) })
}

func (w *credentials) UsePasskey(ctx context.Context, id string, version int64, u passkey.Use) error {
	return one(ctx, w.in, "UsePasskey", func(ctx context.Context) error { return w.Store.UsePasskey(ctx, id, version, u) })
}

func (w *credentials) RenamePasskey(ctx context.Context, userID, id, name string) error {
	return one(ctx, w.in, "RenamePasskey", func(ctx context.Context) error { return w.Store.RenamePasskey(ctx, userID, id, name) })
}

func (w *credentials) DeletePasskey(ctx context.Context, userID, id string) error {
	return one(ctx, w.in, "DeletePasskey", func(ctx context.Context) error { return w.Store.DeletePasskey(ctx, userID, id) })
}

func (w *credentials) DeletePasskeys(ctx context.Context, userID string) error {
	return one(ctx, w.in, "DeletePasskeys", func(ctx context.Context) error { return w.Store.DeletePasskeys(ctx, userID) })
}

// devices is the store of trusted devices, whose calls can fail.
type devices struct {
	trusteddevice.Store
	in *faults.Injector
}

func (w *devices) PutDevice(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
	return one(ctx, w.in, "PutDevice", func(ctx context.Context) error { return w.Store.PutDevice(ctx, d, limit) })
}

func (w *devices) Device(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
	return faults.Call(ctx, w.in, "Device", func(ctx context.Context) (trusteddevice.StoredDevice, error) { return w.Store.Device(ctx, userID, id) })
}

func (w *devices) Devices(ctx context.Context, userID string) ([]trusteddevice.Device, error) {
	return faults.Call(ctx, w.in, "Devices", func(ctx context.Context) ([]trusteddevice.Device, error) { return w.Store.Devices(ctx, userID) })
}

func (w *devices) DeleteDevice(ctx context.Context, userID, id string) (bool, error) {
	return faults.Call(ctx, w.in, "DeleteDevice", func(ctx context.Context) (bool, error) { return w.Store.DeleteDevice(ctx, userID, id) })
}

func (w *devices) DeleteDevices(ctx context.Context, userID string) error {
	return one(ctx, w.in, "DeleteDevices", func(ctx context.Context) error { return w.Store.DeleteDevices(ctx, userID) })
}

func (w *devices) DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (int, error) {
	return faults.Call(ctx, w.in, "DeleteExpiredDevices", func(ctx context.Context) (int, error) { return w.Store.DeleteExpiredDevices(ctx, at, limit) })
}

// keys is the store of API keys, whose calls can fail.
type keys struct {
	apikey.Store
	in *faults.Injector
}

func (w *keys) CreateKey(ctx context.Context, k apikey.StoredKey) error {
	return one(ctx, w.in, "CreateKey", func(ctx context.Context) error { return w.Store.CreateKey(ctx, k) })
}

func (w *keys) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	return faults.Call(ctx, w.in, "KeyByID", func(ctx context.Context) (apikey.StoredKey, error) { return w.Store.KeyByID(ctx, id) })
}

func (w *keys) KeysByOwner(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
	return faults.Call(ctx, w.in, "KeysByOwner", func(ctx context.Context) ([]apikey.Key, error) { return w.Store.KeysByOwner(ctx, o) })
}

func (w *keys) RotateKey(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
	return one(ctx, w.in, "RotateKey", func(ctx context.Context) error { return w.Store.RotateKey(ctx, o, id, r) })
}

func (w *keys) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	return one(ctx, w.in, "DeleteKey", func(ctx context.Context) error { return w.Store.DeleteKey(ctx, o, id) })
}

func (w *keys) DeleteKeys(ctx context.Context, o apikey.Owner) error {
	return one(ctx, w.in, "DeleteKeys", func(ctx context.Context) error { return w.Store.DeleteKeys(ctx, o) })
}

func (w *keys) TouchKey(ctx context.Context, id string, at time.Time) error {
	return one(ctx, w.in, "TouchKey", func(ctx context.Context) error { return w.Store.TouchKey(ctx, id, at) })
}

func (w *keys) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	return faults.Call(ctx, w.in, "DeleteExpiredKeys", func(ctx context.Context) (int, error) { return w.Store.DeleteExpiredKeys(ctx, before, limit) })
}

func (w *keys) CreateService(ctx context.Context, s apikey.Service) error {
	return one(ctx, w.in, "CreateService", func(ctx context.Context) error { return w.Store.CreateService(ctx, s) })
}

func (w *keys) ServiceByID(ctx context.Context, id string) (apikey.Service, error) {
	return faults.Call(ctx, w.in, "ServiceByID", func(ctx context.Context) (apikey.Service, error) { return w.Store.ServiceByID(ctx, id) })
}

func (w *keys) Services(ctx context.Context, after string, limit int) ([]apikey.Service, error) {
	return faults.Call(ctx, w.in, "Services", func(ctx context.Context) ([]apikey.Service, error) { return w.Store.Services(ctx, after, limit) })
}

func (w *keys) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	return one(ctx, w.in, "SetServiceRoles", func(ctx context.Context) error { return w.Store.SetServiceRoles(ctx, id, roles) })
}

func (w *keys) DeleteService(ctx context.Context, id string) error {
	return one(ctx, w.in, "DeleteService", func(ctx context.Context) error { return w.Store.DeleteService(ctx, id) })
}

// orgs is the store of organizations, whose calls can fail.
type orgs struct {
	org.Store
	in *faults.Injector
}

func (w *orgs) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	return one(ctx, w.in, "CreateOrg", func(ctx context.Context) error { return w.Store.CreateOrg(ctx, o, first) })
}

func (w *orgs) Org(ctx context.Context, id string) (o org.Org, version int64, err error) {
	err = one(ctx, w.in, "Org", func(ctx context.Context) (err error) {
		o, version, err = w.Store.Org(ctx, id)
		return err
	})
	return o, version, err
}

func (w *orgs) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	return one(ctx, w.in, "Apply", func(ctx context.Context) error { return w.Store.Apply(ctx, id, version, c) })
}

func (w *orgs) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	return faults.Call(ctx, w.in, "Member", func(ctx context.Context) (org.Member, error) { return w.Store.Member(ctx, orgID, userID) })
}

func (w *orgs) Members(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
	return faults.Call(ctx, w.in, "Members", func(ctx context.Context) ([]org.Member, error) { return w.Store.Members(ctx, orgID, after, limit) })
}

func (w *orgs) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	return faults.Call(ctx, w.in, "HasOtherOwner", func(ctx context.Context) (bool, error) { return w.Store.HasOtherOwner(ctx, orgID, userID) })
}

func (w *orgs) Memberships(ctx context.Context, userID string) ([]org.Membership, error) {
	return faults.Call(ctx, w.in, "Memberships", func(ctx context.Context) ([]org.Membership, error) { return w.Store.Memberships(ctx, userID) })
}

func (w *orgs) Invitation(ctx context.Context, id string) (org.StoredInvitation, error) {
	return faults.Call(ctx, w.in, "Invitation", func(ctx context.Context) (org.StoredInvitation, error) { return w.Store.Invitation(ctx, id) })
}

func (w *orgs) Invitations(ctx context.Context, orgID string) ([]org.Invitation, error) {
	return faults.Call(ctx, w.in, "Invitations", func(ctx context.Context) ([]org.Invitation, error) { return w.Store.Invitations(ctx, orgID) })
}

func (w *orgs) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	return one(ctx, w.in, "SetActive", func(ctx context.Context) error { return w.Store.SetActive(ctx, sessionID, orgID, expires) })
}

func (w *orgs) Active(ctx context.Context, sessionID string) (string, error) {
	return faults.Call(ctx, w.in, "Active", func(ctx context.Context) (string, error) { return w.Store.Active(ctx, sessionID) })
}

func (w *orgs) DeleteExpired(ctx context.Context, at time.Time, limit int) (int, error) {
	return faults.Call(ctx, w.in, "DeleteExpired", func(ctx context.Context) (int, error) { return w.Store.DeleteExpired(ctx, at, limit) })
}

// attempts is the store of the counters of a throttle, whose calls can fail.
type attempts struct {
	throttle.Store
	in *faults.Injector
}

func (w *attempts) Reserve(ctx context.Context, t throttle.Reservation) (throttle.Decision, error) {
	return faults.Call(ctx, w.in, "Reserve", func(ctx context.Context) (throttle.Decision, error) { return w.Store.Reserve(ctx, t) })
}

func (w *attempts) Finish(ctx context.Context, t throttle.Reservation, outcome authkit.AttemptOutcome) error {
	return one(ctx, w.in, "Finish", func(ctx context.Context) error { return w.Store.Finish(ctx, t, outcome) })
}

func (w *attempts) Clear(ctx context.Context, t throttle.Reservation) error {
	return one(ctx, w.in, "Clear", func(ctx context.Context) error { return w.Store.Clear(ctx, t) })
}
