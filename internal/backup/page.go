package backup

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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
	At int64  `json:"a,omitempty"` // microseconds
	ID string `json:"i,omitempty"`
}

// token seals a cursor. The list is named by all that selects its rows (kind, account, region, filters), so that a token is
// good for that list only.
func (s *Service) token(c cursor, list ...string) string {
	body, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(append(s.sealPage(body, list), body...))
}

// start opens the page's token; started is false for the first page.
func (s *Service) start(p Page, list ...string) (c cursor, started bool, err error) {
	if p.Token == "" {
		return cursor{}, false, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err != nil || len(raw) < pageSeal || !hmac.Equal(raw[:pageSeal], s.sealPage(raw[pageSeal:], list)) || json.Unmarshal(raw[pageSeal:], &c) != nil {
		return cursor{}, false, fault.New(fault.Invalid, "Invalid NextToken: it is not from the previous page of this list.")
	}
	return c, true, nil
}

const pageSeal = 16 // bytes of the authenticator

func (s *Service) sealPage(body []byte, list []string) []byte {
	h := hmac.New(sha256.New, s.pageKey)
	names, _ := json.Marshal(list)
	h.Write(names)
	h.Write([]byte{0})
	h.Write(body)
	return h.Sum(nil)[:pageSeal]
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
