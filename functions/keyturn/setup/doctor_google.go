package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/hub"
)

// google checks what is specific to a deployment on Google Cloud.
func (e *examination) google(ctx context.Context, grants []hub.Grant, role string) {
	c, err := e.LoadGoogle()
	if err != nil {
		e.add("credentials", ResultProblem, err.Error(), "correct "+google.EndpointVariable)
		return
	}
	h := hub.Hub{Config: c, Published: *e.FoundGoogle}
	if !e.googleCredentials(ctx, h) {
		e.add("permissions", ResultUnverified, "there are no credentials to try them with", "fix the credentials")
		return
	}
	missing := e.googlePermissions(ctx, h, grants, role)
	e.pushes(ctx, h, missing)
	e.deadLetters(ctx, h, missing)
}

// googleCredentials reports whether there are credentials, and says whose.
func (e *examination) googleCredentials(ctx context.Context, h hub.Hub) bool {
	const check, fix = "credentials", "gcloud auth application-default login"
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	who, err := h.WhoAmI(ctx)
	switch {
	case h.Config.Tokens == nil:
		e.add(check, ResultOK, "none are sent to "+h.Config.Endpoint+", which is on this machine", "")
	case errors.Is(err, cmek.ErrDenied):
		e.add(check, ResultProblem, err.Error(), fix)
		return false
	case err != nil:
		e.add(check, ResultUnverified, "there are some; whose they are cannot be asked: "+err.Error(), "")
	case who == "":
		e.add(check, ResultUnverified, "there are some; Google does not say whose", "")
	default:
		e.add(check, ResultOK, who, "")
	}
	return true
}

// googlePermissions says which permissions of the role are missing, and returns them.
func (e *examination) googlePermissions(ctx context.Context, h hub.Hub, grants []hub.Grant, role string) (missing []string) {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	fix := "ask for a place among the module's " + role + ", and for terraform apply; if you have it, look for a deny policy, and whether you are signed in as who you think"
	if len(h.Published.WatchedProjects) == 0 {
		e.add("permissions on keys", ResultUnverified, "the deployment watches folders or an organization, and names no project to ask about", `run "keyturn plan"`)
	}
	for _, o := range h.Permissions(ctx, grants) {
		check := "permission " + o.Permission
		switch {
		case o.Err != nil:
			e.add(check, ResultUnverified, o.Resource+": "+o.Err.Error(), "")
		case o.Denied:
			missing = append(missing, o.Permission)
			e.add(check, ResultProblem, o.Resource+": it is missing", fix)
		default:
			e.add(check, ResultOK, o.Resource, "")
		}
	}
	if role == "operators" {
		// Neither projects.testIamPermissions nor the IAM v2 API is documented to say who may read deny policies.
		e.add("permission iam.denypolicies.list", ResultUnverified, "Google documents no question that shows it without using it",
			"the --dry-run of a move to another key reads them, and says if it may not")
	}
	return missing
}

// pushes checks that what the topics get is pushed to the functions.
func (e *examination) pushes(ctx context.Context, h hub.Hub, missing []string) {
	const permission = "pubsub.subscriptions.get"
	for _, name := range h.Published.PushSubscriptions {
		check := "push " + name[strings.LastIndexByte(name, '/')+1:]
		if slices.Contains(missing, permission) {
			e.add(check, ResultUnverified, "it cannot be read", "see the permission "+permission)
			continue
		}
		within, cancel := context.WithTimeout(ctx, patience)
		problem, err := h.Problem(within, name)
		cancel()
		switch {
		case errors.Is(err, cmek.ErrNotFound):
			e.add(check, ResultProblem, "it does not exist", "terraform apply")
		case err != nil:
			e.add(check, ResultUnverified, err.Error(), "check that Pub/Sub is reachable from here")
		case problem != "":
			e.add(check, ResultProblem, problem, "terraform apply; gcloud pubsub subscriptions describe "+name+" shows what there is")
		default:
			e.add(check, ResultOK, "it pushes, keeps what cannot be handled, and does not expire", "")
		}
	}
}

// deadLetters checks that no message was given up.
func (e *examination) deadLetters(ctx context.Context, h hub.Hub, missing []string) {
	const check, permission = "dead letters", "monitoring.timeSeries.list"
	if slices.Contains(missing, permission) {
		e.add(check, ResultUnverified, "their number cannot be read", "see the permission "+permission)
		return
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	held, err := h.Undelivered(within, h.Published.Name+"-", time.Now())
	if err != nil {
		e.add(check, ResultUnverified, err.Error(), "check that Cloud Monitoring is reachable from here")
		return
	}
	for _, full := range h.Published.DeadSubscriptions {
		name := full[strings.LastIndexByte(full, '/')+1:]
		switch n, known := held[name]; {
		case !known:
			e.add(check, ResultUnverified, name+": Cloud Monitoring shows no number of the last 10 minutes", "")
		case n > 0:
			e.add(check, ResultProblem, fmt.Sprintf("%s holds %d that could not be handled", name, n), "see infra/gcp/RUNBOOK.md#dead-letters: fix the reason, then send them on")
		default:
			e.add(check, ResultOK, name+" is empty", "")
		}
	}
}
