package repo

import (
	"context"
	"slices"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

const (
	featuresPrefix = "features/"
	featureMagic   = "SRFEAT\x00\x01"
)

// feature is something that a vault uses and that not every program of its format knows. This one knows none: format 1 has
// none. What matters is what must not be done without knowing it.
type feature struct {
	name               string
	read, write, prune bool   // not without knowing it
	parameters         []byte // the feature's own
}

func featureName(name string) string { return featuresPrefix + name }

// encode makes the body of the object that says that a vault uses a feature.
func (f *feature) encode() []byte {
	var e seal.Encoder
	e.Raw([]byte(featureMagic))
	e.String(f.name)
	e.Bool(f.read)
	e.Bool(f.write)
	e.Bool(f.prune)
	e.Bytes(f.parameters)
	return e.B
}

func decodeFeature(object string, body []byte) (f feature, err error) {
	if len(body) < len(featureMagic) || string(body[:len(featureMagic)]) != featureMagic {
		return f, corrupt(object, "this is no feature")
	}
	d := &seal.Decoder{B: body[len(featureMagic):]}
	f = feature{name: d.String(), read: d.Bool(), write: d.Bool(), prune: d.Bool(), parameters: slices.Clone(d.Bytes())}
	if err := d.Done(); err != nil || featureName(f.name) != object {
		return f, corrupt(object, "malformed feature")
	}
	return f, nil
}

// needs lists the unknown features of a vault by what may not be done without knowing them.
type needs struct{ read, write, prune []string }

// loadNeeds gathers what the descriptor and the objects of features added later ask for. maint nil: unauthenticated.
func loadNeeds(ctx context.Context, s blob.Store, maint *seal.Maint, d *Descriptor) (needs, error) {
	n := needs{slices.Clone(d.needs.read), slices.Clone(d.needs.write), slices.Clone(d.needs.prune)}
	err := s.List(ctx, featuresPrefix, func(i blob.Info) error {
		body, err := blob.Get(ctx, s, i.Name, 1<<20)
		if err != nil {
			return err
		}
		if maint == nil {
			body = body[:max(0, len(body)-seal.TagSize)]
		} else if body, err = maint.Unwrap(i.Name, body); err != nil {
			return err
		}
		f, err := decodeFeature(i.Name, body)
		if err != nil {
			return err
		}
		for _, x := range []struct {
			asked bool
			set   *[]string
		}{{f.read, &n.read}, {f.write, &n.write}, {f.prune, &n.prune}} {
			if x.asked {
				*x.set = append(*x.set, f.name)
			}
		}
		return nil
	})
	return n, err
}

// refuse says that something cannot be done because of unknown features; nil if there are none.
func refuse(what string, features []string) error {
	if len(features) == 0 {
		return nil
	}
	return fault.New(fault.Unsupported, "the vault cannot be %s by this program, as it uses %.200q, which only a newer one knows: use that", what, strings.Join(features, ", "))
}

func (n *needs) mayRead() error { return refuse("read", n.read) }
func (n *needs) mayWrite() error {
	return refuse("written to", append(slices.Clone(n.read), n.write...))
}

// mayPrune needs the right to write too.
func (n *needs) mayPrune() error {
	if err := n.mayWrite(); err != nil {
		return err
	}
	return refuse("pruned", n.prune)
}

// guard returns the store, or one that refuses every change if the vault must not be written to. Then not even the store's
// own files (locks, space kept free) are touched.
func (n *needs) guard(s blob.Store) blob.Store {
	if err := n.mayWrite(); err != nil {
		return &unwritable{s, err}
	}
	return s
}

// unwritable refuses every change.
type unwritable struct {
	blob.Store
	err error
}

func (u *unwritable) Put(context.Context, string, []byte) error { return u.err }
func (u *unwritable) Create(context.Context, string) (blob.Writer, error) {
	return nil, u.err
}
func (u *unwritable) Delete(context.Context, string) error { return u.err }

// Writable reports fault.Unsupported when a vault uses something without which this program must not write to it. It
// touches nothing. What it reads is not authenticated: Open does that.
func Writable(ctx context.Context, s blob.Store) error {
	data, err := blob.Get(ctx, s, vaultName, maxSmall)
	if err != nil {
		return err
	}
	d, _, _, _, err := parseDescriptor(data)
	if err != nil {
		return err
	}
	n, err := loadNeeds(ctx, s, nil, &d)
	if err != nil {
		return err
	}
	return n.mayWrite()
}
