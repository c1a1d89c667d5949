"""What the optimizer sees: both towers, the temperatures, and what is minimised."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.training.distributed import Process
from export.vatt.bank import Bank
from export.vatt.bert import Bert
from export.vatt.dataset import Batch
from export.vatt.loss import Negatives, Temperature, cosine_distance, shared, symmetric_nce
from export.vatt.model import ListeningTower, Vatt
from export.vatt.spelling import Spelling

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Of the terms, and what is left out of them. `words` and `sounds` are contrasted, the others regressions."""

    words: float  # audio against text, in the coarse space
    sounds: float  # a recording against itself played otherwise, in the fine space
    meaning: float  # audio towards its text
    distil: float  # text towards what the teacher says of it
    spelling: float  # what is said, in word pieces
    modality_dropout: float  # share of recordings, and of texts, that a step takes for ones without a partner
    drop_token: float  # share of audio tokens that are left out


class Trainee(nn.Module):
    """A batch -> the terms to minimise. A text tower that is not trained reads each text once."""

    def __init__(
        self, model: Vatt, teacher: Bert | None, weights: Weights, process: Process, *, bank: int, bf16: bool
    ) -> None:
        super().__init__()
        self.model, self.weights, self.process, self.bf16 = model, weights, process, bf16
        self.words_temperature, self.sounds_temperature = Temperature(), Temperature() if weights.sounds else None
        self.spelling = Spelling() if weights.spelling and isinstance(model.audio, ListeningTower) else None
        self.bank = Bank(bank, model.config.dims)
        self.found = torch.zeros(())  # share of the last recordings whose nearest text of the step is true of them
        self.teacher = [teacher]  # in a list: it is not trained, and no part of a checkpoint
        self.frozen = not any(parameter.requires_grad for parameter in model.text.parameters())
        self.read: dict[int, Tensor] = {}  # by the text's number

    def forward(self, batch: Batch) -> Terms:
        """`batch` is one of `AudioTextBatches`."""
        weights, terms = self.weights, {}
        with torch.autocast(batch["waveform"].device.type, torch.bfloat16, enabled=self.bf16):
            heard = self.model.encode_audio(batch["waveform"], batch["valid_samples"], weights.drop_token)
            text = self.model.project_text(self._read(batch))
            if weights.sounds:
                other = self.model.encode_audio(
                    batch["other_waveform"], batch["other_valid_samples"], weights.drop_token
                )
        bags, numbers = batch["bag"], batch["text"][:, None]
        terms["words"] = weights.words * self._words(heard.coarse, text, bags, numbers)
        if self.sounds_temperature is not None:
            alike = torch.eye(len(bags), dtype=torch.bool, device=bags.device)
            none = self._negatives(heard.fine[:0], bags[:0], bags)
            terms["sounds"] = weights.sounds * symmetric_nce(
                heard.fine, other.fine, alike, self.sounds_temperature(), none, none
            )
        if weights.meaning:
            drawn = len(text) // len(bags)
            own = heard.coarse.repeat_interleave(drawn, dim=0)
            terms["meaning"] = weights.meaning * cosine_distance(own, text.detach())
        if self.spelling is not None and heard.pieces is not None:
            assert isinstance(self.model.text, Bert)
            vocabulary = self.model.text.lookup.weight
            terms["spelling"] = weights.spelling * self.spelling(heard.pieces, vocabulary, batch["said"])
        if weights.distil and (target := self._teach(batch)) is not None:
            terms["distil"] = weights.distil * cosine_distance(text, target)
        return terms

    def _words(self, audio: Tensor, text: Tensor, bags: Tensor, numbers: Tensor) -> Tensor:
        """Audio [B, D] against text [M, D], both of other processes, and texts of past steps.

        Only texts: they are read as they were, or nearly. What a young audio tower heard some steps ago is far from
        what it hears now, and told apart by that alone.
        """
        kept_audio, kept_text = (
            torch.rand(len(x), device=x.device) >= self.weights.modality_dropout for x in (bags, numbers)
        )
        alike = shared(bags, numbers)
        others = [self.process.others(tensor) for tensor in (audio, bags, text, numbers)]
        past = self.bank.contents()
        loss = symmetric_nce(
            audio,
            text,
            alike & kept_audio[:, None] & kept_text,
            self.words_temperature(),
            self._negatives(others[0], others[1], numbers),
            self._negatives(torch.cat([others[2], past[0]]), torch.cat([others[3], past[1]]), bags),
        )
        if self.training:
            self.bank.put(torch.cat([text.detach(), others[2]]), torch.cat([numbers, others[3]]))
        nearest = (audio @ text.T).argmax(1, keepdim=True)
        self.found = alike.gather(1, nearest).float().mean().detach()
        return loss

    def _negatives(self, vectors: Tensor, bags: Tensor, own: Tensor) -> Negatives:
        return Negatives(vectors, shared(own, bags))

    def _read(self, batch: Batch) -> Tensor:
        """What the text tower says of each text, before its projection."""
        if not self.frozen:
            return self.model.read_text(batch["input_ids"], batch["attention_mask"])
        numbers = batch["text"].tolist()
        unread = [place for place, number in enumerate(numbers) if number not in self.read]
        if unread:
            with torch.no_grad():
                said = self.model.read_text(batch["input_ids"][unread], batch["attention_mask"][unread]).float()
            self.read |= {numbers[place]: vector for place, vector in zip(unread, said, strict=True)}
        return torch.stack([self.read[number] for number in numbers])

    @torch.no_grad()
    def _teach(self, batch: Batch) -> Tensor | None:
        """What the teacher says of each text [M, D]."""
        (teacher,) = self.teacher
        if teacher is None:
            return None
        said = teacher(batch["input_ids"], batch["attention_mask"] > 0)
        return nn.functional.normalize(said.float(), dim=-1)
