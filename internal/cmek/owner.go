package cmek

// MayHaveKeys reports whether the cluster's keys may be of a type that is wanted: which installation a cluster is of follows from it. Its
// cloud provider decides. Where that is not known, its keys do, and a cluster that shows none of a known type may have any.
func (c Cluster) MayHaveKeys(info ClusterInfo, wanted func(KeyType) bool) bool {
	types := map[string]KeyType{"AWS": AWSKMS, "GCP": GCPCloudKMS, "AZURE": AzureKeyVault}
	if t, ok := types[c.CloudProvider]; ok {
		return wanted(t)
	}
	foreign := false
	for _, region := range info.RegionInfos {
		for _, k := range region.KeyInfos {
			if wanted(k.Spec.Type) {
				return true
			}
			known := k.Spec.Type == AWSKMS || k.Spec.Type == GCPCloudKMS || k.Spec.Type == AzureKeyVault
			foreign = foreign || known
		}
	}
	return !foreign
}
