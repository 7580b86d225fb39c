package kms

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// A grant token is grant id 32 | random 16 | tag 32 in base64. In AWS it bridges the time until a new grant is seen
// everywhere; here grants are seen at once, so a token only names its grant and is never needed.

func (s *Service) grantToken(grantID string) string {
	id, err := hex.DecodeString(grantID)
	if err != nil {
		panic("kms: grant ids are hex: " + err.Error())
	}
	b := append(id, ident.Bytes(16)...)
	return base64.StdEncoding.EncodeToString(append(b, s.grantTag(b)...))
}

func (s *Service) grantTag(b []byte) []byte {
	key := s.Root.NodeKey("kms/grant-token")
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)
}

// GrantOfToken returns the grant that a token names. A token that this node did not make is CodeInvalidGrantToken; one whose
// grant has ended is NotFound.
func (s *Service) GrantOfToken(ctx context.Context, token string) (Grant, error) {
	id, err := s.tokenGrantID(token)
	if err != nil {
		return Grant{}, err
	}
	var list []Grant
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		list, err = grantsWhere(ctx, tx, "g.id = ?", id)
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	if len(list) == 0 {
		return Grant{}, fault.New(fault.NotFound, "Grant ID %s not found", id).WithResource(id)
	}
	return list[0], nil
}

// CheckTokens verifies the grant tokens of a request.
func (s *Service) CheckTokens(tokens []string) error {
	for _, t := range tokens {
		if _, err := s.tokenGrantID(t); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) tokenGrantID(token string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) != 80 || !hmac.Equal(b[48:], s.grantTag(b[:48])) {
		return "", errInvalid("Invalid grant token").WithCode(CodeInvalidGrantToken)
	}
	return hex.EncodeToString(b[:32]), nil
}
