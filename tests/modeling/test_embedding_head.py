import pytest
import torch

from fecnet.modeling.head.embedding import EmbeddingHead


def test_head_equals_the_formula():
    torch.manual_seed(0)
    head = EmbeddingHead(8, feature_dim=12, embedding_dim=4).eval()
    torch.nn.init.normal_(head.feature.bias)
    x = torch.rand(3, 8, 5, 7) * 6
    pooled = x.sum(dim=(2, 3)) / 35
    feature = (pooled @ head.feature.weight.T + head.feature.bias).clamp(0, 6)
    raw = feature @ head.embedding.weight.T + head.embedding.bias
    out = head(x)
    torch.testing.assert_close(out["feature"], feature)
    torch.testing.assert_close(out["embedding"], raw / raw.square().sum(dim=1, keepdim=True).sqrt())


def test_feature_is_taken_before_dropout():
    head = EmbeddingHead(8, feature_dim=64, embedding_dim=4, dropout=0.5).train()
    x = torch.rand(3, 8, 2, 2)
    first, second = head(x), head(x)
    assert torch.equal(first["feature"], second["feature"])
    assert not torch.equal(first["embedding"], second["embedding"])


def test_every_position_of_the_map_counts():
    torch.manual_seed(0)
    head = EmbeddingHead(8).eval()
    x = torch.rand(1, 8, 5, 5)  # what 160 px leaves; an average over the first 3×3 would miss the corner
    changed = x.clone()
    changed[0, 0, 4, 4] += 6
    assert not torch.allclose(head(x)["embedding"], head(changed)["embedding"], atol=1e-4)


def test_gradient_is_finite_where_all_features_are_dead():
    head = EmbeddingHead(8, feature_dim=16, embedding_dim=4)
    torch.nn.init.constant_(head.feature.bias, -100.0)
    x = torch.rand(2, 8, 2, 2, requires_grad=True)
    out = head(x)["embedding"]
    assert torch.equal(out, torch.zeros(2, 4))
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *head.parameters()))


def test_embedding_is_unit_float32_under_autocast():
    head = EmbeddingHead(8).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(torch.rand(5, 8, 2, 2))
    assert out["feature"].dtype == torch.bfloat16
    assert out["embedding"].dtype == torch.float32
    torch.testing.assert_close(out["embedding"].norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("seed", range(3))
def test_embeddings_of_different_maps_do_not_start_parallel(seed):
    torch.manual_seed(seed)
    head = EmbeddingHead(512).eval()
    # pooled maps of different images: a common level and small differences; PyTorch's own start gives about 0.9
    pooled = 0.4 + 0.1 * torch.randn(32, 512, 1, 1)
    emb = head(pooled)["embedding"]
    cosine = (emb @ emb.T)[~torch.eye(32, dtype=torch.bool)]
    assert cosine.mean() < 0.3
