"""Systems that learn from several views of each sample; they run on every modality that can make views."""
