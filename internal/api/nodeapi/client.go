package nodeapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"strongroom/internal/clock"
)

// Client calls the service of a node. All fields are required.
type Client struct {
	Endpoint    string
	Region      string
	Credentials aws.CredentialsProvider
	Clock       clock.Clock
}

// PreflightCopy asks about one copy.
func (c Client) PreflightCopy(ctx context.Context, in PreflightCopyInput) (PreflightOutput, error) {
	return c.call(ctx, "/preflight/copy", in)
}

// PreflightPlan asks about a plan.
func (c Client) PreflightPlan(ctx context.Context, planID string) (PreflightOutput, error) {
	return c.call(ctx, "/preflight/plan/"+url.PathEscape(planID), struct{}{})
}

func (c Client) call(ctx context.Context, path string, in any) (out PreflightOutput, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", "application/json")
	creds, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return out, fmt.Errorf("credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), Name, c.Region, c.Clock.Now()); err != nil {
		return out, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return out, err
	}
	if res.StatusCode != http.StatusOK {
		var e struct{ Message string }
		json.Unmarshal(raw, &e)
		return out, fmt.Errorf("%s: %s", res.Header.Get("X-Amzn-Errortype"), e.Message)
	}
	return out, json.Unmarshal(raw, &out)
}
