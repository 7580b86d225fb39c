package org

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
)

// Page asks for one page of a list. Max 0 is the default, 20, which is also the most.
type Page struct {
	Max   *int32
	Token *string
}

const maxPage = 20

// begin checks a Page and returns the key after which it starts. A token is good for the list, the caller and the parameters, all in
// scope, that it was given for.
func (s *Service) begin(p Page, scope string) (after string, limit int, err error) {
	limit = maxPage
	if p.Max != nil {
		limit = int(*p.Max)
	}
	switch {
	case limit < 1:
		return "", 0, errInput("MIN_VALUE_EXCEEDED:MAX_RESULTS", "You specified a value for MaxResults that is lower than 1.")
	case limit > maxPage:
		return "", 0, errInput("MAX_VALUE_EXCEEDED:MAX_RESULTS", "You specified a value for MaxResults that is greater than %d.", maxPage)
	case p.Token == nil:
		return "", limit, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*p.Token)
	if err != nil || len(b) < 16 || !hmac.Equal(b[:16], s.tokenTag(scope, b[16:])) {
		return "", 0, errInput("INVALID_NEXT_TOKEN", "You provided a value for the NextToken parameter that is not valid.")
	}
	return string(b[16:]), limit, nil
}

// finish cuts a list of up to limit+1 entries to the page and makes the token of the next, "" after the last.
func finish[T any](s *Service, list []T, limit int, scope string, key func(T) string) (page []T, next string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	cursor := []byte(key(list[limit-1]))
	return list, base64.RawURLEncoding.EncodeToString(append(s.tokenTag(scope, cursor), cursor...))
}

func (s *Service) tokenTag(scope string, cursor []byte) []byte {
	h := hmac.New(sha256.New, s.TokenKey)
	h.Write([]byte(scope))
	h.Write([]byte{0})
	h.Write(cursor)
	return h.Sum(nil)[:16]
}

// scanStrings reads a query of one text column.
func scanStrings(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
