package repo

import "context"

// BuildOnAnything makes the vault write reference sets that build on others whenever that is possible at all.
func (r *Repository) BuildOnAnything() {
	r.v.rule = refsRule{small: -1, added: 1 << 20, surplus: 1 << 20}
}

// RefsDepth returns how many reference sets that of a recovery point builds on.
func (r *Repository) RefsDepth(t interface {
	Helper()
	Fatal(...any)
}, id string) (depth int) {
	t.Helper()
	ctx := context.Background()
	rec, err := r.record(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.v.eachOf(ctx, rec, func() { depth = -1 }, nil, func(*refsObject) error { depth++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return depth
}

// Newest returns the id of the last recovery point of an owner's resource, "" if there is none.
func (r *Repository) Newest(ctx context.Context, meta Meta) (string, error) {
	rec, err := r.newest(ctx, meta)
	if rec == nil {
		return "", err
	}
	return rec.id, err
}
