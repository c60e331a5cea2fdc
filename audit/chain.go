package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strconv"
	"strings"
)

const saltLen = 16

// A Head identifies the end of a log at some time. A verification against an
// earlier head detects that an entry up to it was altered or cut off. Its text
// is the sequence number, a colon, and the MAC in base64url.
type Head struct {
	Seq uint64   // of the last entry; 0 if there is none
	MAC [32]byte // of the last entry
}

// String returns the text of the head.
func (h Head) String() string {
	return strconv.FormatUint(h.Seq, 10) + ":" + base64.RawURLEncoding.EncodeToString(h.MAC[:])
}

// MarshalText implements encoding.TextMarshaler. It returns the text of String.
func (h Head) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It parses the text of
// String.
func (h *Head) UnmarshalText(text []byte) error {
	seq, mac, _ := strings.Cut(string(text), ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	b, err2 := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil || err2 != nil || len(b) != len(h.MAC) {
		return errors.New("audit: a head is a number, a colon, and 43 letters of base64url")
	}
	*h = Head{Seq: n, MAC: [32]byte(b)}
	return nil
}

// A Chain computes the MACs of entries. Most programs should use a [Log] and
// package trail instead. It is not safe for concurrent use.
type Chain struct {
	mac hash.Hash
	buf []byte
}

// NewChain returns the Chain of [Options].Key.
func NewChain(key []byte) *Chain { return &Chain{mac: hmac.New(sha256.New, key)} }

// Link appends entries to the chain behind a head. It sets their Seq, salts,
// hashes and MAC.
func (c *Chain) Link(h Head, entries []Entry) {
	salts := make([]byte, 2*saltLen*len(entries))
	_, _ = rand.Read(salts) // never fails
	for i := range entries {
		e := &entries[i]
		e.ClientSalt, salts = salts[:saltLen:saltLen], salts[saltLen:]
		e.TargetSalt, salts = salts[:saltLen:saltLen], salts[saltLen:]
		e.Seq, e.ClientHash, e.TargetHash = h.Seq+1, c.clientHash(e), c.targetHash(e)
		e.MAC = c.sum(h, e)
		h = e.Head()
	}
}

// Follows reports whether an entry is the next one after a head. It uses only
// the MAC of the head.
func (c *Chain) Follows(h Head, e *Entry) bool { return hmac.Equal(c.sum(h, e), e.MAC) }

// Personal reports whether each part of the personal data of an entry is
// unchanged or erased, and how many of the two parts are erased.
func (c *Chain) Personal(e *Entry) (erased int, ok bool) {
	ok = true
	if len(e.ClientSalt) == 0 {
		erased++
		ok = e.ActorID+e.SessionID+e.Address+e.Agent+e.RequestID == ""
	} else if len(e.ClientSalt) != saltLen || !hmac.Equal(c.clientHash(e), e.ClientHash) {
		ok = false
	}
	if len(e.TargetSalt) == 0 {
		erased++
		return erased, ok && e.TargetID == ""
	}
	return erased, ok && len(e.TargetSalt) == saltLen && hmac.Equal(c.targetHash(e), e.TargetHash)
}

// sum returns the MAC of an entry behind a head.
func (c *Chain) sum(h Head, e *Entry) []byte {
	b := append(c.buf[:0], "authkit audit 1\x00"...)
	b = append(b, h.MAC[:]...)
	for _, n := range []uint64{e.Seq, uint64(e.Time.UnixMicro()), e.Count} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	c.buf = appendTexts(b, string(e.Kind), e.Outcome, string(e.Reason), e.Route, string(e.ClientHash), string(e.TargetHash))
	c.mac.Reset()
	c.mac.Write(c.buf)
	return c.mac.Sum(nil)
}

func (c *Chain) clientHash(e *Entry) []byte {
	return c.digest("client", string(e.ClientSalt), e.ActorID, e.SessionID, e.Address, e.Agent, e.RequestID)
}

func (c *Chain) targetHash(e *Entry) []byte {
	return c.digest("target", string(e.TargetSalt), e.TargetID)
}

func (c *Chain) digest(texts ...string) []byte {
	c.buf = appendTexts(append(c.buf[:0], "authkit audit personal 1\x00"...), texts...)
	sum := sha256.Sum256(c.buf)
	return sum[:]
}

// appendTexts appends texts with their lengths, so that different lists have
// different encodings.
func appendTexts(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}
