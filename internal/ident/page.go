package ident

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// ErrToken is returned for a page token that this pager did not make for this scope.
var ErrToken = errors.New("the page token is not valid for this request")

const (
	pageVersion = 1
	pageMAC     = 16
)

// Pager seals the position of a list into opaque page tokens. Tokens are authenticated but not secret: a cursor must hold nothing
// that the caller may not see. A token is good only for the scope it was sealed for; put into the scope whatever makes a call this call
// (account, operation, filters), so that a token cannot be used by another caller or with other parameters.
type Pager struct {
	Key []byte // at least 16 random bytes, the same on every node that serves the same lists
}

// Scope joins the parts of a call's identity so that different parts never give the same scope.
func Scope(parts ...string) string { return string(pack(parts)) }

// Seal returns the token of a position: the sort key of the last item of the page, for instance.
func (p Pager) Seal(scope string, cursor ...string) string {
	body := append([]byte{pageVersion}, pack(cursor)...)
	return base64.RawURLEncoding.EncodeToString(append(body, p.mac(scope, body)...))
}

// Open returns the position in a token, with at least one part, or ErrToken.
func (p Pager) Open(scope, token string) ([]string, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 1+pageMAC || b[0] != pageVersion {
		return nil, ErrToken
	}
	body, mac := b[:len(b)-pageMAC], b[len(b)-pageMAC:]
	if !hmac.Equal(mac, p.mac(scope, body)) {
		return nil, ErrToken
	}
	cursor, ok := unpack(body[1:])
	if !ok || len(cursor) == 0 {
		return nil, ErrToken
	}
	return cursor, nil
}

func (p Pager) mac(scope string, body []byte) []byte {
	h := hmac.New(sha256.New, p.Key)
	h.Write(pack([]string{"page token", scope}))
	h.Write(body)
	return h.Sum(nil)[:pageMAC]
}

// pack writes strings with their lengths.
func pack(parts []string) []byte {
	var b []byte
	for _, s := range parts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func unpack(b []byte) ([]string, bool) {
	var out []string
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, false
		}
		out = append(out, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	return out, true
}
