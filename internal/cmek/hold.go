package cmek

import (
	"slices"
	"strings"
	"time"
)

// Hold is an operator's order to leave a key, or a cluster, alone: until it ends keyturn sends no PUT and repairs nothing there. What was
// sent already goes on, events still open work, and alerts still come, linked to the hold.
type Hold struct {
	// Key or ClusterID is what is held, and the other one is empty. A multi-Region key is held with all its replicas.
	Key       KeyURI `json:"key,omitempty"`
	ClusterID string `json:"cluster_id,omitempty"`
	// Cluster is the cluster's name when it was held, for people.
	Cluster string `json:"cluster,omitempty"`
	// It stands from Since until Until, unless it is released before.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// By is who gave the order, Reason why.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason"`
	// Released is when somebody ended it, and ReleasedBy who; zero for one that nobody ended.
	Released   time.Time `json:"released,omitzero"`
	ReleasedBy string    `json:"released_by,omitempty"`
}

// Stands reports whether the hold has not ended. When it began does not matter: it stands for a machine whose clock is behind, too.
func (h Hold) Stands(now time.Time) bool {
	return h.Released.IsZero() && now.Before(h.Until)
}

// Same reports whether both are holds of the same thing.
func (h Hold) Same(other Hold) bool {
	if h.Key == "" || other.Key == "" {
		return h.Key == other.Key && strings.EqualFold(h.ClusterID, other.ClusterID)
	}
	return h.Key.SameKey(other.Key)
}

// On reports whether the hold is of the key, or of the cluster with that id. Ids are UUIDs, in either case.
func (h Hold) On(clusterID string, key KeyURI) bool {
	return h.ClusterID != "" && strings.EqualFold(h.ClusterID, clusterID) || h.Key != "" && key != "" && h.Key.SameKey(key)
}

// Subject names what is held, for people: the key's URI or the cluster.
func (h Hold) Subject() string {
	if h.Key != "" {
		return "key " + string(h.Key)
	}
	if h.Cluster == "" {
		return "cluster " + h.ClusterID
	}
	return "cluster " + h.Cluster
}

// Argument is what commands call the hold's subject: the key's URI or the cluster's id.
func (h Hold) Argument() string {
	if h.Key != "" {
		return string(h.Key)
	}
	return h.ClusterID
}

// Holds are the holds of an installation, those that have ended among them.
type Holds []Hold

// Standing are those that stand at now.
func (hs Holds) Standing(now time.Time) Holds {
	return slices.DeleteFunc(slices.Clone(hs), func(h Hold) bool { return !h.Stands(now) })
}

// Find returns the hold of the key or of the cluster that stands longest at now, and whether there is one.
func (hs Holds) Find(clusterID string, key KeyURI, now time.Time) (found Hold, ok bool) {
	for _, h := range hs {
		if h.On(clusterID, key) && h.Stands(now) && h.Until.After(found.Until) {
			found, ok = h, true
		}
	}
	return found, ok
}
