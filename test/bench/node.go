package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"strongroom/test/bench/corpus"
	"strongroom/test/node"
)

func startNode(ctx context.Context, c config, source string) (*node.Node, error) {
	dir := filepath.Join(c.dir, "node")
	n, err := node.New(c.bin, dir, source)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return n, n.SetUp(ctx)
}

// nodeRound is resticRound with strongroom: backup, backup again, copy into the other account, restore. It returns the
// node's peak memory.
func nodeRound(ctx context.Context, c config, cp corpus.Tree, out results) (rss int64, err error) {
	n, err := startNode(ctx, c, cp.Path)
	if err != nil {
		return 0, err
	}
	point, err := n.Backup(ctx)
	if err != nil {
		return 0, err
	}
	out.add(cp.Name+": initial backup, s", "strongroom", point.Took.Seconds())
	again, err := n.Backup(ctx)
	if err != nil {
		return 0, err
	}
	out.add(cp.Name+": nothing changed, s", "strongroom", again.Took.Seconds())
	size, err := corpus.Size(filepath.Join(n.Dir, "data", "regions"))
	if err != nil {
		return 0, err
	}
	out.add(cp.Name+": stored, MB", "strongroom", float64(size)/1e6)
	copied, err := n.Copy(ctx, point.ARN)
	if err != nil {
		return 0, err
	}
	out.add(cp.Name+": copy, other key, s", "strongroom", copied.Took.Seconds())
	restored, err := n.Restore(ctx, node.Backup, copied.ARN)
	if err != nil {
		return 0, err
	}
	out.add(cp.Name+": restore, s", "strongroom", restored.Took.Seconds())
	if rss, err = n.PeakMemory(); err != nil {
		return 0, err
	}
	return rss, n.Stop()
}

// apiRate loads DescribeRecoveryPoint from eight connections and returns calls per second. Every request carries a valid
// signature that the node verifies; the client signs each connection's request once a second instead of every time, so
// that it takes less of the two cores that both share.
func apiRate(ctx context.Context, c config, cp corpus.Tree) (float64, error) {
	n, err := startNode(ctx, c, filepath.Join(cp.Path, "0"))
	if err != nil {
		return 0, err
	}
	defer n.Stop()
	point, err := n.Backup(ctx)
	if err != nil {
		return 0, err
	}
	cfg := n.Config(node.Production)
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return 0, err
	}
	signed := func() (*http.Request, error) {
		u, err := url.Parse(n.Endpoint + "/backup-vaults/" + node.Vault + "/recovery-points/" + url.PathEscape(point.ARN))
		if err != nil {
			return nil, err
		}
		r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}
		empty := sha256.Sum256(nil)
		return r, v4.NewSigner().SignHTTP(ctx, creds, r, hex.EncodeToString(empty[:]), "backup", node.Region, time.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, c.apiFor)
	defer cancel()
	var calls atomic.Int64
	var failed atomic.Pointer[error]
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	begun := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var r *http.Request
			var at time.Time
			for ctx.Err() == nil {
				var err error
				if time.Since(at) > time.Second {
					at = time.Now()
					if r, err = signed(); err != nil {
						failed.Store(&err)
						return
					}
				}
				if err := get(client, r.WithContext(ctx)); err == nil {
					calls.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return 0, *e
	}
	return float64(calls.Load()) / time.Since(begun).Seconds(), nil
}

func get(c *http.Client, r *http.Request) error {
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return err
}
