package sim

// Flags are the settings of the traffic on a benchmark's command line, described by the tags of
// package kong. Everything else is as in [DefaultConfig].
type Flags struct {
	Groups     int     `default:"100" placeholder:"N" help:"Groups."`
	Members    int     `default:"50" placeholder:"N" help:"Members of a group on average; few groups are large, many are small."`
	Duplicates float64 `default:"0.1" placeholder:"PART" help:"Part of the receipts that repeat an earlier one."`
	Early      float64 `default:"0.01" placeholder:"PART" help:"Part of the receipts that come before their message."`
	Seed       uint64  `default:"1" placeholder:"N" help:"Seed of the traffic: the same seed makes the same events."`
	Dir        string  `default:"." placeholder:"DIR" help:"Where the data of the run lies; removed at the end. Use the disk that you want to measure."`
}

// Config returns the configuration that the flags describe. It fails if one of them is out of
// range.
func (f *Flags) Config() (Config, error) {
	c := DefaultConfig()
	c.Seed, c.Groups, c.Members, c.Duplicates, c.EarlyReads = f.Seed, f.Groups, f.Members, f.Duplicates, f.Early
	return c, c.Validate()
}
