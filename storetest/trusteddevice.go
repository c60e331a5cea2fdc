package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit/trusteddevice"
)

// TestTrustedDeviceStore tests an implementation of [trusteddevice.Store]
// against the contract in that interface's comment. The function open returns an
// empty store that no other test uses; it may register a cleanup. The subtests
// run in parallel.
func TestTrustedDeviceStore(t *testing.T, open func(t *testing.T) trusteddevice.Store) {
	for name, test := range map[string]func(*testing.T, trusteddevice.Store){
		"PutAndFind":       testDevicePutAndFind,
		"OtherUser":        testDeviceOtherUser,
		"Order":            testDeviceOrder,
		"Limit":            testDeviceLimit,
		"TakenIDs":         testDeviceTakenIDs,
		"BrokenIDs":        testDeviceBrokenIDs,
		"DeleteAll":        testDeviceDeleteAll,
		"Expired":          testDeviceExpired,
		"CancelledContext": testDeviceCancelledContext,
		"Deleters":         testDeviceDeleters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// newDevice returns a device of a user that was trusted at start and expires an
// hour later.
func newDevice(userID, id string) trusteddevice.StoredDevice {
	d := trusteddevice.StoredDevice{Device: trusteddevice.Device{
		ID: id, UserID: userID, Agent: "Firefox – " + id, CreatedAt: start.Add(123456 * time.Microsecond), ExpiresAt: start.Add(time.Hour + 654321*time.Microsecond),
	}}
	copy(d.Hash[:], "\x00\xffthe hash of "+id)
	return d
}

func putDevices(t *testing.T, s trusteddevice.Store, devices ...trusteddevice.StoredDevice) {
	t.Helper()
	for _, d := range devices {
		if err := s.PutDevice(t.Context(), d, 20); err != nil {
			t.Fatalf("PutDevice(%s): %v", d.ID, err)
		}
	}
}

// deviceIDs checks the IDs of a user's devices, in their order.
func deviceIDs(t *testing.T, s trusteddevice.Store, userID string, want ...string) {
	t.Helper()
	list, err := s.Devices(t.Context(), userID)
	if err != nil {
		t.Fatalf("Devices(%s): %v", userID, err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("Devices(%s): %v; want %v", userID, got, want)
	}
}

// deleteDevice deletes a device and checks whether there was one.
func deleteDevice(t *testing.T, s trusteddevice.Store, userID, id string, want bool) {
	t.Helper()
	if deleted, err := s.DeleteDevice(t.Context(), userID, id); err != nil || deleted != want {
		t.Fatalf("DeleteDevice(%s, %s): %v, %v; want %v", userID, id, deleted, err, want)
	}
}

func testDevicePutAndFind(t *testing.T, s trusteddevice.Store) {
	want := newDevice("u1", "a")
	deviceIDs(t, s, "u1")
	putDevices(t, s, want)
	got, err := s.Device(t.Context(), "u1", "a")
	if err != nil || got != want {
		t.Fatalf("got %+v, %x, %v; want %+v, %x", got, got.Hash, err, want, want.Hash)
	}
	if list, err := s.Devices(t.Context(), "u1"); err != nil || len(list) != 1 || list[0] != want.Device {
		t.Fatalf("got %+v, %v", list, err)
	}
	deleteDevice(t, s, "u1", "a", true)
	deleteDevice(t, s, "u1", "a", false)
	noDevice(t, s, "u1", "a")
}

func noDevice(t *testing.T, s trusteddevice.Store, userID, id string) {
	t.Helper()
	if d, err := s.Device(t.Context(), userID, id); !errors.Is(err, trusteddevice.ErrNotFound) {
		t.Fatalf("Device(%q, %q): %+v, %v; want ErrNotFound", userID, id, d, err)
	}
}

// testDeviceOtherUser: the ID of another user's device finds nothing.
func testDeviceOtherUser(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"), newDevice("u2", "b"))
	noDevice(t, s, "u1", "b")
	deleteDevice(t, s, "u1", "b", false)
	deviceIDs(t, s, "u2", "b")
	noDevice(t, s, "U1", "a") // compared byte by byte
	noDevice(t, s, "u1", "A")
}

func testDeviceOrder(t *testing.T, s trusteddevice.Store) {
	for i, id := range []string{"c", "a", "b"} {
		d := newDevice("u1", id)
		d.CreatedAt = start.Add(time.Duration(i) * time.Microsecond)
		putDevices(t, s, d)
	}
	deviceIDs(t, s, "u1", "b", "a", "c")
}

func testDeviceLimit(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u2", "other"))
	for i, id := range []string{"a", "b", "c"} {
		d := newDevice("u1", id)
		d.CreatedAt = start.Add(time.Duration(i) * time.Second)
		if err := s.PutDevice(t.Context(), d, 2); err != nil {
			t.Fatal(err)
		}
	}
	deviceIDs(t, s, "u1", "c", "b")
	deviceIDs(t, s, "u2", "other")
	d := newDevice("u1", "old") // by a clock that is behind
	d.CreatedAt = start.Add(-time.Hour)
	if err := s.PutDevice(t.Context(), d, 2); err != nil {
		t.Fatal(err)
	}
	deviceIDs(t, s, "u1", "c", "old")
}

func testDeviceTakenIDs(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"))
	for _, userID := range []string{"u1", "u2"} {
		if err := s.PutDevice(t.Context(), newDevice(userID, "a"), 20); err == nil {
			t.Errorf("an ID that exists was stored for %s", userID)
		}
	}
	if err := s.PutDevice(t.Context(), newDevice("u1", ""), 20); err == nil {
		t.Error("an empty ID was stored")
	}
	deviceIDs(t, s, "u1", "a")
	deviceIDs(t, s, "u2")
}

func testDeviceBrokenIDs(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"))
	for _, id := range []string{"", "\x00", "\xff", strings.Repeat("a", 100)} {
		noDevice(t, s, "u1", id)
		noDevice(t, s, id, "a")
		deleteDevice(t, s, "u1", id, false)
		deviceIDs(t, s, id)
		if err := s.DeleteDevices(t.Context(), id); err != nil {
			t.Errorf("DeleteDevices(%q): %v", id, err)
		}
	}
	deviceIDs(t, s, "u1", "a")
}

func testDeviceDeleteAll(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"), newDevice("u1", "b"), newDevice("u2", "c"))
	for range 2 {
		if err := s.DeleteDevices(t.Context(), "u1"); err != nil {
			t.Fatal(err)
		}
		deviceIDs(t, s, "u1")
		deviceIDs(t, s, "u2", "c")
	}
}

func testDeviceExpired(t *testing.T, s trusteddevice.Store) {
	for _, id := range []string{"a", "b", "c"} {
		d := newDevice("u-"+id, id)
		d.ExpiresAt = start.Add(time.Hour)
		putDevices(t, s, d)
	}
	later := newDevice("u1", "later")
	later.ExpiresAt = start.Add(time.Hour + time.Microsecond)
	putDevices(t, s, later)
	for i, want := range []int{0, 0, 2, 1, 0} {
		limit := []int{-1, 0, 2, 2, 2}[i]
		if n, err := s.DeleteExpiredDevices(t.Context(), start.Add(time.Hour), limit); err != nil || n != want {
			t.Fatalf("DeleteExpiredDevices(%d): %d, %v; want %d", limit, n, err, want)
		}
	}
	deviceIDs(t, s, "u1", "later")
}

func testDeviceCancelledContext(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"PutDevice":            func() error { return s.PutDevice(ctx, newDevice("u1", "b"), 20) },
		"Device":               func() error { _, err := s.Device(ctx, "u1", "a"); return err },
		"Devices":              func() error { _, err := s.Devices(ctx, "u1"); return err },
		"DeleteDevice":         func() error { _, err := s.DeleteDevice(ctx, "u1", "a"); return err },
		"DeleteDevices":        func() error { return s.DeleteDevices(ctx, "u1") },
		"DeleteExpiredDevices": func() error { _, err := s.DeleteExpiredDevices(ctx, start.Add(2*time.Hour), 10); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	deviceIDs(t, s, "u1", "a")
}

// testDeviceDeleters: of several callers one deletes a device.
func testDeviceDeleters(t *testing.T, s trusteddevice.Store) {
	putDevices(t, s, newDevice("u1", "a"))
	var deleted atomic.Int32
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			ok, err := s.DeleteDevice(t.Context(), "u1", "a")
			if err != nil {
				t.Error(err)
			}
			if ok {
				deleted.Add(1)
			}
		})
	}
	group.Wait()
	if n := deleted.Load(); n != 1 {
		t.Errorf("%d callers deleted one device", n)
	}
}
