package backup

import (
	"context"
	"strconv"
	"strings"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Page asks for one page of a list. The zero value asks for the first one at full size.
type Page struct {
	Limit int    // rows wanted at most, 1 to 1000; 0 means 1000
	Token string // from the page before; "" for the first
}

const pageLimit = 1000

// size is the number of rows to return.
func (p Page) size() int {
	if p.Limit <= 0 || p.Limit > pageLimit {
		return pageLimit
	}
	return p.Limit
}

// cursor is the sort key of the last row of a page: the next page holds the rows that sort after it, so rows that come
// and go in between neither repeat nor hide others.
type cursor struct {
	At int64 // microseconds
	ID string
}

// token seals a cursor. The list is named by all that selects its rows (kind, account, region, filters), so that a token is
// good for that list only.
func (s *Service) token(c cursor, list ...string) string {
	return ident.Pager{Key: s.pageKey}.Seal(ident.Scope(list...), strconv.FormatInt(c.At, 10), c.ID)
}

// start opens the page's token; started is false for the first page.
func (s *Service) start(p Page, list ...string) (c cursor, started bool, err error) {
	if p.Token == "" {
		return cursor{}, false, nil
	}
	parts, err := ident.Pager{Key: s.pageKey}.Open(ident.Scope(list...), p.Token)
	if err == nil && len(parts) == 2 {
		c.At, err = strconv.ParseInt(parts[0], 10, 64)
		c.ID = parts[1]
	}
	if err != nil || len(parts) != 2 {
		return cursor{}, false, fault.New(fault.Invalid, "Invalid NextToken: it is not from the previous page of this list.").WithCause(err)
	}
	return c, true, nil
}

// pageKey reads the key of page tokens, making it on first use.
func pageKey(ctx context.Context, d *db.DB) (key []byte, err error) {
	err = d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO backup_secret (name, value) VALUES ('page', ?) ON CONFLICT (name) DO NOTHING", ident.Bytes(32)); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT value FROM backup_secret WHERE name = 'page'").Scan(&key)
	})
	return key, err
}

// where collects the conditions of a query with its arguments.
type where struct {
	conditions []string
	args       []any
}

func (w *where) add(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string { return " WHERE " + strings.Join(w.conditions, " AND ") }
