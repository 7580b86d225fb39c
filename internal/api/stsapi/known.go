package stsapi

import "strings"

// knownNames are all operations of the model, so that those which are not implemented are recognised.
func knownNames() []string {
	return strings.Fields(`
AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot DecodeAuthorizationMessage GetAccessKeyInfo
GetCallerIdentity GetDelegatedAccessToken GetFederationToken GetSessionToken GetWebIdentityToken`)
}
