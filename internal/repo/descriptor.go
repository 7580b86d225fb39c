package repo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

const (
	descriptorMagic = "SRVAULT\x01"
	envelopeMagic   = "SRKEYS\x00\x01"
)

// Descriptor names the vault that a repository belongs to.
type Descriptor struct {
	Vault    string // UUID
	Owner    string // account
	Name     string
	VaultARN string
	Region   string
	Created  time.Time

	needs needs
}

// Envelope is the root key of a vault, wrapped by somebody who can unwrap it. Kind is "kms", or, with the
// maintenance key beside the root key, "recipient" or "passphrase" (package recovery).
type Envelope struct {
	Kind  string
	KeyID string
	Blob  []byte
}

func encodeTime(e *seal.Encoder, t time.Time) {
	e.Int(t.Unix())
	e.Uint(uint64(t.Nanosecond()))
}

func decodeTime(d *seal.Decoder) time.Time {
	sec := d.Int()
	return time.Unix(sec, int64(d.Max(1e9-1))).UTC()
}

// encode makes the descriptor's body. The three feature sets say what a program must know to read, to write and to prune
// (feature.go).
func (d *Descriptor) encode(vault seal.VaultID) []byte {
	var e seal.Encoder
	e.Raw([]byte(descriptorMagic))
	e.Uint(1) // format
	e.Raw(vault[:])
	e.String(d.Owner)
	e.String(d.Name)
	e.String(d.VaultARN)
	e.String(d.Region)
	encodeTime(&e, d.Created)
	for _, set := range [][]string{d.needs.read, d.needs.write, d.needs.prune} {
		e.Uint(uint64(len(set)))
		for _, name := range set {
			e.String(name)
		}
	}
	return e.B
}

// parseDescriptor reads body ‖ root check ‖ tag without authenticating it.
func parseDescriptor(data []byte) (d Descriptor, vault seal.VaultID, body, check []byte, err error) {
	if len(data) < len(descriptorMagic)+2*sha256.Size || string(data[:len(descriptorMagic)]) != descriptorMagic {
		return d, vault, nil, nil, corrupt(vaultName, "this is no vault descriptor")
	}
	body = data[:len(data)-2*sha256.Size]
	check = data[len(body) : len(body)+sha256.Size]
	r := &seal.Decoder{B: body[len(descriptorMagic):]}
	if f := r.Uint(); f != 1 && r.Err() == nil {
		return d, vault, nil, nil, fault.New(fault.Unsupported, "the vault has format %d; this program knows format 1", f)
	}
	copy(vault[:], r.Raw(len(vault)))
	d = Descriptor{Vault: vault.String(), Owner: r.String(), Name: r.String(), VaultARN: r.String(), Region: r.String(), Created: decodeTime(r)}
	for _, set := range []*[]string{&d.needs.read, &d.needs.write, &d.needs.prune} {
		for range r.Count(1) {
			name := r.String()
			if n := len(*set); name == "" || n > 0 && name <= (*set)[n-1] {
				r.Fail("features out of order")
				break
			}
			*set = append(*set, name)
		}
	}
	if err := r.Done(); err != nil {
		return d, vault, nil, nil, corrupt(vaultName, "%v", err)
	}
	return d, vault, body, check, d.needs.mayRead()
}

// Describe reads the descriptor of a store. It is not authenticated: Open does that. fault.Unsupported: the vault has another
// format or uses something without which this program cannot read it.
func Describe(ctx context.Context, s blob.Store) (Descriptor, error) {
	data, err := blob.Get(ctx, s, vaultName, maxSmall)
	if err != nil {
		return Descriptor{}, err
	}
	d, _, _, _, err := parseDescriptor(data)
	if err != nil {
		return d, err
	}
	n, err := loadNeeds(ctx, s, nil, &d)
	if err != nil {
		return d, err
	}
	return d, n.mayRead()
}

// Made reports whether a store holds a repository. Wrapped keys alone are what an interrupted Create left, for the next one
// to replace. fault.Corrupt: there is more, but no descriptor.
func Made(ctx context.Context, s blob.Store) (bool, error) {
	_, err := s.Stat(ctx, vaultName)
	if err == nil || !fault.Is(err, fault.NotFound) {
		return err == nil, err
	}
	return false, s.List(ctx, "", func(i blob.Info) error {
		if !strings.HasPrefix(i.Name, keysPrefix) {
			return corrupt(vaultName, "the descriptor of the vault is missing, but there is %s", i.Name)
		}
		return nil
	})
}

// Create makes a repository in an empty store and opens it. fault.Exists when the store holds anything but the keys that an
// interrupted Create left; those are removed, as nothing was ever sealed under them.
func Create(ctx context.Context, c Config, d Descriptor, envelopes []Envelope) (*Repository, error) {
	vault, err := seal.ParseVaultID(c.Vault)
	if err != nil {
		return nil, err
	}
	root, err := seal.NewRoot(c.Root, vault)
	if err != nil {
		return nil, err
	}
	maint, err := seal.NewMaint(c.Maint, vault)
	if err != nil {
		return nil, err
	}
	if c.Clock == nil {
		return nil, fault.New(fault.Invalid, "a repository needs a clock")
	}
	var left []string
	err = c.Store.List(ctx, "", func(i blob.Info) error {
		if len(i.Name) <= len(keysPrefix) || i.Name[:len(keysPrefix)] != keysPrefix {
			return fault.New(fault.Exists, "the store is not empty: it holds %s", i.Name)
		}
		left = append(left, i.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := c.Store.Delete(ctx, name); err != nil {
			return nil, err
		}
	}
	for _, e := range envelopes {
		if err := AddEnvelope(ctx, c.Store, e); err != nil {
			return nil, err
		}
	}
	if d.Vault, d.Created = c.Vault, d.Created.UTC(); d.Created.IsZero() {
		d.Created = c.Clock.Now().UTC()
	}
	body := d.encode(vault)
	// The descriptor makes the vault: before it, there is nothing to open.
	if err := c.Store.Put(ctx, vaultName, maint.Wrap(vaultName, append(body, root.Check(body)...))); err != nil {
		return nil, err
	}
	return Open(ctx, c)
}

// authenticate checks the descriptor against the keys. root may be nil. If the vault uses something without which it must not
// be written to, the store in c is replaced by one that refuses that.
func authenticate(ctx context.Context, c *Config, vault seal.VaultID, root *seal.Root, maint *seal.Maint) (Descriptor, error) {
	data, err := blob.Get(ctx, c.Store, vaultName, maxSmall)
	if fault.Is(err, fault.NotFound) {
		return Descriptor{}, fault.New(fault.NotFound, "the store holds no repository").WithCause(err)
	}
	if err != nil {
		return Descriptor{}, err
	}
	d, stored, body, check, err := parseDescriptor(data)
	if err != nil {
		return Descriptor{}, err
	}
	if stored != vault {
		return Descriptor{}, fault.New(fault.Denied, "the store holds vault %s, not %s", stored, vault)
	}
	if _, err := maint.Unwrap(vaultName, data); err != nil {
		return Descriptor{}, fault.New(fault.Denied, "the maintenance key is not this vault's, or the descriptor was changed")
	}
	if root != nil && !seal.Equal(root.Check(body), check) {
		return Descriptor{}, fault.New(fault.Denied, "the root key is not this vault's")
	}
	if d.needs, err = loadNeeds(ctx, c.Store, maint, &d); err != nil {
		return Descriptor{}, err
	}
	c.Store = d.needs.guard(c.Store)
	return d, d.needs.mayRead()
}

// AddEnvelope stores one more wrapped root key. Envelopes are never changed or removed.
func AddEnvelope(ctx context.Context, s blob.Store, e Envelope) error {
	var r seal.Encoder
	r.Raw([]byte(envelopeMagic))
	r.String(e.Kind)
	r.String(e.KeyID)
	r.Bytes(e.Blob)
	sum := sha256.Sum256(r.B)
	r.Raw(sum[:])
	next := 0
	if err := s.List(ctx, keysPrefix, func(i blob.Info) error { next++; return nil }); err != nil {
		return err
	}
	for ; ; next++ {
		err := s.Put(ctx, fmt.Sprintf("%s%06d", keysPrefix, next), r.B)
		if !fault.Is(err, fault.Exists) {
			return err
		}
	}
}

// Envelopes lists the wrapped root keys, oldest first. They are protected by whoever wrapped them, not by the repository:
// Open tells whether a key is the right one.
func Envelopes(ctx context.Context, s blob.Store) ([]Envelope, error) {
	out, damaged, err := IntactEnvelopes(ctx, s)
	if err == nil && len(damaged) > 0 {
		err = corrupt(damaged[0].Object, "%s", damaged[0].Reason)
	}
	return out, err
}

// IntactEnvelopes is Envelopes for a repository that may be damaged: it names the envelopes that cannot be read beside the others.
func IntactEnvelopes(ctx context.Context, s blob.Store) (out []Envelope, damaged []Finding, err error) {
	err = s.List(ctx, keysPrefix, func(i blob.Info) error {
		data, err := blob.Get(ctx, s, i.Name, 1<<20)
		if err != nil && !fault.Is(err, fault.Corrupt) {
			return err
		}
		n := len(data) - sha256.Size
		if n < len(envelopeMagic) || string(data[:len(envelopeMagic)]) != envelopeMagic || sha256.Sum256(data[:n]) != [32]byte(data[n:]) {
			damaged = append(damaged, Finding{Object: i.Name, Reason: "damaged envelope"})
			return nil
		}
		d := &seal.Decoder{B: data[len(envelopeMagic):n]}
		e := Envelope{Kind: d.String(), KeyID: d.String(), Blob: append([]byte{}, d.Bytes()...)}
		if err := d.Done(); err != nil {
			damaged = append(damaged, Finding{Object: i.Name, Reason: err.Error()})
			return nil
		}
		out = append(out, e)
		return nil
	})
	return out, damaged, err
}
