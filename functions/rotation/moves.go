package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// readMoves reads the orders about the cluster, and what decides about those that are wanted.
func (w *worker) readMoves(ctx context.Context, c *ledger.Cluster, r *Reads, wanted func(*ledger.Cluster, ledger.Order) bool) (err error) {
	if r.Orders, err = w.Ledger.Orders(ctx, c.ID); err != nil {
		return err
	}
	if err := w.readPins(ctx, c, r); err != nil {
		return err
	}
	return w.readOrderKeys(ctx, c, r, wanted)
}

// readOrderKeys reads what decides about the keys of those orders about the cluster that are wanted and may begin.
func (w *worker) readOrderKeys(ctx context.Context, c *ledger.Cluster, r *Reads, wanted func(*ledger.Cluster, ledger.Order) bool) error {
	r.Moves = map[string]Move{}
	for _, o := range slices.Concat(r.Orders, pinnedOrders(c)) {
		if _, ended := c.OrderEnded(o.ID); ended || !o.Canceled.IsZero() || !wanted(c, o) {
			continue
		}
		r.Moves[o.ID] = w.ReadMove(ctx, c.Cluster, o)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read keys of an order: %w", err)
		}
	}
	return nil
}

// unsentOrder reports whether the cluster has work of the order that a request may be sent for. An order that follows from a pin is reported
// with what keeps it from being carried out, be it acted on or not.
func unsentOrder(c *ledger.Cluster, o ledger.Order) bool {
	i := slices.IndexFunc(c.Work, func(w ledger.Work) bool { return w.Order == o.ID })
	return i < 0 && o.Alias != "" || i >= 0 && c.Work[i].State != ledger.Requested
}

// ReadMove reads what decides about an order's keys, as it is now. It writes nothing. The new key is no cluster's yet, so what is wrong
// with it is no incident.
func (f *Function) ReadMove(ctx context.Context, cluster cmek.Cluster, o ledger.Order) (m Move) {
	incidents, err := f.Ledger.OpenIncidents(ctx)
	check := func(spec cmek.KeySpec) (c KeyCheck) {
		c.Key.Key, c.Key.Err = f.KMS.Key(ctx, spec.URI)
		c.Access, c.AccessWhy = f.access(ctx, cmek.Use{ClusterID: cluster.ID, CloudAccount: cluster.AccountID, Spec: spec})
		c.IncidentsErr = err
		for _, i := range incidents {
			if i.Alert.Key != "" && i.Alert.Key.SameKey(spec.URI) {
				c.Incidents = append(c.Incidents, i.Alert.Summary)
			}
		}
		return c
	}
	return Move{From: check(o.From), To: check(o.To)}
}

// access reads the documents that decide whether the principal may use the key, and decides.
func (f *Function) access(ctx context.Context, use cmek.Use) (policy.Decision, string) {
	if f.Policies == nil || len(f.Policies.Deciding(use, nil)) == 0 {
		return policy.CannotTell, "policies are not read here"
	}
	texts, unread := map[string]string{}, map[string]error{}
	for before := -1; before < len(texts)+len(unread); {
		before = len(texts) + len(unread)
		for _, name := range f.Policies.Deciding(use, texts) {
			_, read := texts[name]
			if _, failed := unread[name]; read || failed || len(texts)+len(unread) >= mostDocuments {
				continue
			}
			if text, err := f.Policies.Document(ctx, name); err != nil {
				unread[name] = err
			} else {
				texts[name] = text
			}
		}
	}
	if use.Spec.Type == cmek.GCPCloudKMS {
		return admittedOnGoogle(use, texts, time.Now())
	}
	return admittedOnAWS(use, texts, unread)
}

// admittedOnAWS decides by the key policy, the role's policies and its trust policy. Without the role's policies nothing but a denial is certain.
func admittedOnAWS(use cmek.Use, texts map[string]string, unread map[string]error) (policy.Decision, string) {
	key, arn := string(use.Spec.URI), string(use.Spec.AuthPrincipal)
	if err := unread[arn]; errors.Is(err, cmek.ErrNotFound) {
		return policy.Denied, "the role does not exist"
	}
	keyPolicy, err := policy.Parse(texts[key])
	if err != nil {
		return policy.CannotTell, fmt.Sprintf("the key policy: %v", cause(unread[key], err))
	}
	role, err := policy.ParseRole(arn, texts[ledger.RolePolicies(use.Spec.AuthPrincipal)])
	roleErr := cause(unread[ledger.RolePolicies(use.Spec.AuthPrincipal)], err)
	if roleErr != nil {
		role = policy.Role{ARN: arn}
	}
	got := policy.KeyAccess(keyPolicy, use.Spec.URI, role)
	why := strings.Join(got.Sentences(), "; ")
	if got.Decision() == policy.Denied {
		return policy.Denied, why
	}
	trust, err := policy.Parse(texts[arn])
	trustErr := cause(unread[arn], err)
	// Without the organization's id, which the trust policy asks for, only a refusal of the account is certain.
	if trustErr == nil && use.CloudAccount != "" && policy.RoleTrust(trust, use.CloudAccount, "").Assume.Decision == policy.Denied {
		return policy.Denied, "the role's trust policy does not let the cluster's account " + use.CloudAccount + " assume it"
	}
	if roleErr != nil {
		return policy.CannotTell, fmt.Sprintf("the policies of the role: %v", roleErr)
	}
	if trustErr != nil {
		return policy.CannotTell, fmt.Sprintf("the role's trust policy: %v", trustErr)
	}
	return got.Decision(), why
}

// cause is why a document was not read, else why it cannot be understood.
func cause(unread, unclear error) error {
	if unread != nil {
		return unread
	}
	return unclear
}

// admittedOnGoogle decides by the allow and deny policies. What those who read one project seldom may read is not waited for.
func admittedOnGoogle(use cmek.Use, texts map[string]string, now time.Time) (policy.Decision, string) {
	docs, _ := google.ReadAll(texts)
	account, err := google.ParseServiceAccount(texts[google.State(use.Spec.AuthPrincipal)])
	if err != nil {
		return policy.CannotTell, fmt.Sprintf("service account %s: %v", use.Spec.AuthPrincipal, err)
	}
	got := google.KeyAccess(docs, use.Spec.URI, account, now)
	why := strings.Join(got.Sentences(), "; ")
	if got.Decision() != policy.CannotTell {
		return got.Decision(), why
	}
	if docs.SeldomRead(got.Missing()) && got.ByRead() == policy.Allowed {
		return policy.Allowed, ""
	}
	return policy.CannotTell, why
}
