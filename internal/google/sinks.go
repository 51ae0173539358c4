package google

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Sinks reads sinks of Cloud Logging and subscriptions of Pub/Sub. It is safe for concurrent use.
type Sinks struct{ config Config }

// NewSinks returns a reader of sinks.
func NewSinks(config Config) *Sinks { return &Sinks{config} }

// Sink reads a sink by its whole name, as projects/P/sinks/S (cloud.google.com/logging/docs/reference/v2/rest/v2/sinks).
func (s *Sinks) Sink(ctx context.Context, name string) (cmek.LogSink, error) {
	var answer struct {
		Name            string `json:"name"`
		Destination     string `json:"destination"`
		Filter          string `json:"filter"`
		Disabled        bool   `json:"disabled"`
		IncludeChildren bool   `json:"includeChildren"`
		Exclusions      []struct {
			Disabled bool `json:"disabled"`
		} `json:"exclusions"`
	}
	doing := "read sink " + name
	if err := s.read(ctx, doing, "logging.sinks.get", "logging.googleapis.com", "/v2/", name, &answer); err != nil {
		return cmek.LogSink{}, err
	}
	if answer.Destination == "" {
		return cmek.LogSink{}, fmt.Errorf("%s: %w: the answer is no sink", doing, cmek.ErrIncomplete)
	}
	sink := cmek.LogSink{Destination: answer.Destination, Filter: answer.Filter, Disabled: answer.Disabled, IncludeChildren: answer.IncludeChildren}
	for _, x := range answer.Exclusions {
		if !x.Disabled {
			sink.Exclusions++
		}
	}
	return sink, nil
}

// UsesKept reads for how long a project keeps Data Access logs in its bucket _Default, from which entries are read unless somebody names
// another. It is an error if the sink _Default, which fills the bucket, leaves some out or leads elsewhere
// (cloud.google.com/logging/docs/default-settings).
func (s *Sinks) UsesKept(ctx context.Context, project string) (time.Duration, error) {
	const bucket = "/locations/global/buckets/_Default"
	doing := "read for how long " + project + " keeps Data Access logs"
	sink, err := s.Sink(ctx, project+"/sinks/_Default")
	switch {
	case err != nil:
		return 0, err
	case sink.Disabled, sink.Exclusions > 0, strings.Contains(sink.Filter, "data_access"), !strings.HasSuffix(sink.Destination, bucket):
		return 0, fmt.Errorf("%s: sink %s/sinks/_Default is disabled, leaves some out, or does not lead to the bucket _Default", doing, project)
	}
	var answer struct {
		RetentionDays int    `json:"retentionDays"`
		State         string `json:"lifecycleState"`
	}
	if err := s.read(ctx, doing, "logging.buckets.get", "logging.googleapis.com", "/v2/", project+bucket, &answer); err != nil {
		return 0, err
	}
	if answer.RetentionDays <= 0 || answer.State != "ACTIVE" {
		return 0, fmt.Errorf("%s: %w: the bucket is not active, or does not say", doing, cmek.ErrIncomplete)
	}
	return time.Duration(answer.RetentionDays) * 24 * time.Hour, nil
}

// Subscription reads a subscription by its whole name (cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions).
func (s *Sinks) Subscription(ctx context.Context, name string) (cmek.PushSubscription, error) {
	var answer struct {
		Topic      string `json:"topic"`
		Filter     string `json:"filter"`
		State      string `json:"state"`
		Detached   bool   `json:"detached"`
		PushConfig struct {
			Endpoint string `json:"pushEndpoint"`
		} `json:"pushConfig"`
	}
	doing := "read subscription " + name
	if err := s.read(ctx, doing, "pubsub.subscriptions.get", "pubsub.googleapis.com", "/v1/", name, &answer); err != nil {
		return cmek.PushSubscription{}, err
	}
	if answer.Topic == "" {
		return cmek.PushSubscription{}, fmt.Errorf("%s: %w: the answer is no subscription", doing, cmek.ErrIncomplete)
	}
	return cmek.PushSubscription{Topic: answer.Topic, Endpoint: answer.PushConfig.Endpoint, Filter: answer.Filter, State: answer.State, Detached: answer.Detached}, nil
}

func (s *Sinks) read(ctx context.Context, doing, permission, host, version, name string, into any) error {
	var path []string
	for part := range strings.SplitSeq(name, "/") {
		path = append(path, url.PathEscape(part))
	}
	err := s.config.Call(ctx, doing, http.MethodGet, host, version+strings.Join(path, "/"), nil, nil, into)
	if errors.Is(err, cmek.ErrDenied) && !errors.Is(err, cmek.ErrNoCredentials) {
		return &cmek.PermissionError{Permission: permission + " on " + name, Err: err}
	}
	return err
}
