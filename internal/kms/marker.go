package kms

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// Marker makes the token of the page after cursor in the list that scope describes: operation, caller and parameters.
func (s *Service) Marker(scope, cursor string) string {
	return base64.RawURLEncoding.EncodeToString(append(s.markerTag(scope, cursor), cursor...))
}

// Cursor is the inverse of Marker; "" is the first page. A marker of another list is Invalid with CodeInvalidMarker.
func (s *Service) Cursor(scope, marker string) (string, error) {
	if marker == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(b) < 16 || !hmac.Equal(b[:16], s.markerTag(scope, string(b[16:]))) {
		return "", errInvalid("The marker is not one that this list returned").WithCode(CodeInvalidMarker)
	}
	return string(b[16:]), nil
}

func (s *Service) markerTag(scope, cursor string) []byte {
	key := s.Root.NodeKey("kms/marker")
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(frame(scope, cursor))
	return h.Sum(nil)[:16]
}
