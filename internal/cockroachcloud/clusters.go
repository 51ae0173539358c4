package cockroachcloud

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// ClusterPage lists the clusters that the service account may see, by name, from the page on ("" for the first). It returns
// the next page's name, "" at the end. Deleted clusters are listed too, with state DELETED (show_inactive): nothing else
// says that a cluster is gone, since one that is missing from the list may only be invisible to the service account.
func (c *Client) ClusterPage(ctx context.Context, page string) (clusters []cmek.Cluster, next string, err error) {
	query := pageQuery(page)
	query.Set("show_inactive", "true")
	list, err := read(ctx, c, "/api/v1/clusters", query, clusterList.check)
	if err != nil {
		return nil, "", err
	}
	for _, w := range list.Clusters {
		clusters = append(clusters, w.toCMEK())
	}
	return clusters, list.Pagination.NextPage, nil
}

// Clusters yields what [Client.ClusterPage] lists, deleted clusters included, page by page. An error ends it.
func (c *Client) Clusters(ctx context.Context) iter.Seq2[cmek.Cluster, error] {
	return walk(func(page string) ([]cmek.Cluster, string, error) { return c.ClusterPage(ctx, page) })
}

// Cluster reads one cluster.
func (c *Client) Cluster(ctx context.Context, id string) (cmek.Cluster, error) {
	path, err := clusterPath(id, "")
	if err != nil {
		return cmek.Cluster{}, err
	}
	w, err := read(ctx, c, path, nil, func(w cluster) error {
		if err := w.checkID(id); err != nil {
			return err
		}
		return w.check("")
	})
	if err != nil {
		return cmek.Cluster{}, err
	}
	return w.toCMEK(), nil
}

// AddRegions adds regions to a cluster that has CMEK (PATCH, UpdateCluster). The cluster is as [Client.Cluster] has read it: the API
// counts a region that region_nodes leave out as removed, so that all regions that the cluster has are sent with their node counts, and
// the additions beside them. One that names a region of the cluster is refused, and so is a cluster that was not read whole. The keys
// sent are those of the additions only, because the API refuses one for an existing region. Info of the answer stays empty.
func (c *Client) AddRegions(ctx context.Context, to cmek.Cluster, additions []cmek.AddedRegion) cmek.Answer {
	nodes, specs, err := mergeRegions(to, additions)
	if err != nil {
		return refuse(err)
	}
	type dedicated struct {
		RegionNodes     map[string]int    `json:"region_nodes"`
		CMEKRegionSpecs []cmek.RegionSpec `json:"cmek_region_specs"`
	}
	return c.patchCluster(ctx, to.ID, struct {
		Dedicated dedicated `json:"dedicated"`
	}{dedicated{nodes, specs}})
}

// mergeRegions is the node count of every region that the cluster shall have, and the keys of those that it does not have yet.
func mergeRegions(to cmek.Cluster, additions []cmek.AddedRegion) (nodes map[string]int, specs []cmek.RegionSpec, err error) {
	if len(to.Regions) == 0 {
		return nil, nil, errors.New("the regions that the cluster has are not known")
	}
	nodes = map[string]int{}
	for _, r := range to.Regions {
		if r.Name == "" || r.NodeCount <= 0 {
			return nil, nil, fmt.Errorf("the node count of the cluster's region %q is not known", clip(r.Name))
		}
		nodes[r.Name] = r.NodeCount
	}
	for _, a := range additions {
		if a.Nodes <= 0 {
			return nil, nil, fmt.Errorf("the new region %q has no node count", clip(a.Region))
		}
		if _, has := nodes[a.Region]; has {
			return nil, nil, fmt.Errorf("the cluster has the region %q already, or it is named twice", clip(a.Region))
		}
		nodes[a.Region] = a.Nodes
		specs = append(specs, cmek.RegionSpec{Region: a.Region, KeySpec: a.KeySpec})
	}
	return nodes, specs, checkSpecs(specs)
}

// SetLabels makes labels the cluster's labels (PATCH, UpdateCluster): the API removes all that are not among them. Info of
// the answer stays empty.
func (c *Client) SetLabels(ctx context.Context, id string, labels map[string]string) cmek.Answer {
	if labels == nil {
		labels = map[string]string{} // null would leave the labels as they are.
	}
	return c.patchCluster(ctx, id, struct {
		Labels map[string]string `json:"labels"`
	}{labels})
}

func (c *Client) patchCluster(ctx context.Context, id string, body any) cmek.Answer {
	path, err := clusterPath(id, "")
	if err != nil {
		return refuse(err)
	}
	return c.write(ctx, http.MethodPatch, path, body, func(got reply) error {
		_, err := decode(got, func(w cluster) error { return w.checkID(id) })
		return err
	})
}

// Nodes reads all nodes of a cluster, ordered by region and name.
func (c *Client) Nodes(ctx context.Context, id string) ([]cmek.Node, error) {
	path, err := clusterPath(id, "/nodes")
	if err != nil {
		return nil, err
	}
	fetch := func(page string) ([]cmek.Node, string, error) {
		list, err := read(ctx, c, path, pageQuery(page), nodeList.check)
		if err != nil {
			return nil, "", err
		}
		nodes := make([]cmek.Node, len(list.Nodes))
		for i, n := range list.Nodes {
			nodes[i] = cmek.Node{Name: n.Name, Region: n.Region, Status: n.Status}
		}
		return nodes, list.Pagination.NextPage, nil
	}
	var nodes []cmek.Node
	for node, err := range walk(fetch) {
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// nodeList is the API's ListClusterNodesResponse.
type nodeList struct {
	Nodes []struct {
		Name   string `json:"name"`
		Region string `json:"region_name"`
		Status string `json:"status"`
	} `json:"nodes"`
	Pagination pagination `json:"pagination"`
}

func (w nodeList) check() error { return missingArray("nodes", w.Nodes) }

// clusterList is the API's ListClustersResponse.
type clusterList struct {
	Clusters   []cluster  `json:"clusters"`
	Pagination pagination `json:"pagination"`
}

func (w clusterList) check() error {
	for i, c := range w.Clusters {
		if err := c.check(fmt.Sprintf("clusters[%d].", i)); err != nil {
			return err
		}
	}
	return missingArray("clusters", w.Clusters)
}

// cluster is the API's Cluster.
type cluster struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	ParentID        string `json:"parent_id"`
	Plan            string `json:"plan"`
	CloudProvider   string `json:"cloud_provider"`
	AccountID       string `json:"account_id"`
	State           string `json:"state"`
	OperationStatus string `json:"operation_status"`
	Regions         []struct {
		Name      string `json:"name"`
		NodeCount int    `json:"node_count"`
	} `json:"regions"`
	Labels    map[string]string `json:"labels"`
	CreatedAt timestamp         `json:"created_at"`
	UpdatedAt timestamp         `json:"updated_at"`
	DeletedAt timestamp         `json:"deleted_at"`
}

// check says what a read of the cluster lacks; at is where it stands in the body. The state decides whether a PUT may be sent. The
// name orders the clusters of a key, and operators know the cluster by it.
func (w cluster) check(at string) error {
	switch {
	case w.ID == "":
		return missing(at + "id")
	case w.Name == "":
		return missing(at + "name")
	case w.State == "":
		return missing(at + "state")
	}
	return nil
}

// checkID says whether the answer is about the cluster asked for. Ids are UUIDs, in either case.
func (w cluster) checkID(asked string) error {
	switch {
	case w.ID == "":
		return missing("id")
	case !strings.EqualFold(w.ID, asked):
		return fmt.Errorf("the body is about another cluster, %q", clip(w.ID))
	}
	return nil
}

// toCMEK is the cluster as the rest of the program knows it. deleted_at is as good as the state DELETED, whatever state
// stands beside it: a deleted cluster keeps both for ever, the API does not document which comes first, and one meaning of
// "deleted" must do for everybody who asks the state. A time that cannot be read, or a zero time, which encoders write for
// none, deletes nothing.
func (w cluster) toCMEK() cmek.Cluster {
	c := cmek.Cluster{
		ID: w.ID, Name: w.Name, ParentID: w.ParentID, Plan: w.Plan, CloudProvider: w.CloudProvider,
		AccountID: w.AccountID, State: w.State, OperationStatus: w.OperationStatus, Labels: w.Labels,
		CreatedAt: w.CreatedAt.Time, UpdatedAt: w.UpdatedAt.Time, DeletedAt: w.DeletedAt.Time,
	}
	if c.DeletedAt.Unix() > 0 {
		c.State = cmek.StateDeleted
	}
	for _, r := range w.Regions {
		c.Regions = append(c.Regions, cmek.Region{Name: r.Name, NodeCount: r.NodeCount})
	}
	return c
}
